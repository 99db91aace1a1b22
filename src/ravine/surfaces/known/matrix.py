"""A matrix to be found, for methods that see matrices."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface

UNSEEN = 0.2  # where a run begins in each direction that is not drawn


class Matrix(Surface):
    """A matrix of 2 × 2 whose curvature is a Kronecker product, drawn in a plane through its minimum.

        f(W) = ½ ‖A W B − C‖²        W = x a₁b₁ᵀ + y a₂b₂ᵀ + what is not seen

    A and B have random orthogonal eigenvectors a₁, a₂ and b₁, b₂, so no axis of W is one of the curvature, and
    eigenvalues from 1 down to κ^(−1/4). x is the coordinate of the steepest direction and y of the flattest. All four
    numbers move; a run begins with 0.2 in each of the two directions that are not seen, and its loss is the whole one,
    above the one that is drawn. The minimum has x = y = 1: at 0 weight decay alone would find it.

    condition: κ, of the whole problem.
    side: of W; of 8 × 8 numbers 62 are not seen, and the eigenvalues go down by equal factors.
    """

    name = "matrix"
    view = ((-2.2, 2.2), (-2.2, 2.2))
    start = (-1.8, -1.2)
    minima = ((1.0, 1.0),)
    log = True
    ranges = {"condition": "[1, inf)", "side": "[2, 32]"}
    condition: float = 100.0
    side: int = 2

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * ((x - 1) ** 2 + (y - 1) ** 2 / self.condition)

    def begin(self, starts: Tensor) -> Tensor:
        inside = torch.full((len(starts), self.side, self.side), UNSEEN, dtype=starts.dtype)
        return turned(inside, starts)

    def seen(self, parameters: Tensor) -> Tensor:
        return corners(parameters)

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        a, b = turns(self.side)
        best = torch.zeros(self.side, self.side, dtype=torch.float64)
        best[0, 0] = best[-1, -1] = 1.0
        h = self.condition ** (-0.25 * torch.arange(self.side, dtype=torch.float64) / (self.side - 1))
        return 0.5 * ((h[:, None] * (a.T @ parameters @ b - best) * h) ** 2).sum((-2, -1))


def turned(inside: Tensor, seen: Tensor) -> Tensor:
    """A matrix from its coordinates in the bases of `turns`, of which the first and the last are these two."""
    inside[:, 0, 0], inside[:, -1, -1] = seen.unbind(-1)
    a, b = turns(inside.shape[-1])
    return a @ inside @ b.T


def corners(parameters: Tensor) -> Tensor:
    """The first and the last coordinate of matrices in the bases of `turns`."""
    a, b = turns(parameters.shape[-1])
    inside = a.T @ parameters @ b
    return torch.stack([inside[..., 0, 0], inside[..., -1, -1]], -1)


@cache
def turns(side: int) -> tuple[Tensor, Tensor]:
    """Two random orthogonal matrices."""
    chance = torch.Generator().manual_seed(23)
    a, b = (torch.linalg.qr(torch.randn(side, side, dtype=torch.float64, generator=chance))[0] for _ in range(2))
    return a, b
