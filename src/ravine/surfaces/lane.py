"""The parameters of all runs, and what they meet at each step: losses and gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.surfaces.given import objective
from ravine.surfaces.surface import Surface
from ravine.surfaces.tape import Tape


class Lane:
    """The parameters of all runs, a row each, and their gradients; optimizers hold slices of both."""

    def __init__(self, surface: Surface, starts: Tensor, chance: Tensor | None):
        self.surface, self.chance = surface, chance
        self.t, self.drawn = torch.tensor(0), None if chance is None else chance[0].clone()
        self.parameters = surface.begin(starts).requires_grad_()
        self.now = self.parameters.detach()  # the same memory
        self.gradients = torch.zeros_like(self.now)
        self.losses = torch.zeros(len(starts), dtype=starts.dtype)
        self.ones = torch.ones_like(self.losses)
        self.bound = type(surface).project is not Surface.project
        self.tape: Tape | None = None
        self.found = self.losses, self.gradients

    def look(self, t: int) -> None:
        """The losses and gradients where the runs are, before step t."""
        self.t.fill_(t)
        if self.chance is not None and self.drawn is not None:
            self.drawn.copy_(self.chance[t])
        if self.tape is None:
            with Tape() as tape:
                self.found = self.differentiate()
            self.tape = tape
        elif self.tape.whole:
            self.tape.play()
        else:
            self.found = self.differentiate()
        losses, gradients = self.found
        self.losses.copy_(losses)
        self.gradients.copy_(gradients)

    def note(self, points: Tensor, gradients: Tensor, losses: Tensor) -> None:
        """Write down what it sees."""
        points.copy_(self.now)
        gradients.copy_(self.gradients)
        losses.copy_(self.losses)

    def differentiate(self) -> tuple[Tensor, Tensor]:
        """Losses and gradients by autograd."""
        losses = objective(self.surface, self.parameters, self.t, self.drawn)
        (gradients,) = torch.autograd.grad(losses, self.parameters, self.ones)
        return losses.detach(), gradients

    def loss(self, row: int, p: Tensor) -> Tensor:
        """The loss of one run at other parameters."""
        drawn = None if self.drawn is None else self.drawn[row : row + 1]
        return objective(self.surface, p[None], self.t, drawn)[0]

    def leaf(self, row: int, count: int | None = None) -> torch.nn.Parameter:
        """A parameter in the memory of one row or of several, with the gradient in its memory."""
        p, gradient = (x[row : row + count].flatten(0, 1) if count else x[row] for x in (self.now, self.gradients))
        leaf = torch.nn.Parameter(p)
        leaf.grad = gradient
        return leaf

    def project(self) -> None:
        """Put parameters back where they may be."""
        if self.bound:
            self.surface.project(self.now)
