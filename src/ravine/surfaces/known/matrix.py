"""A matrix to be found, for methods that see matrices."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface

SIDE = 8


class Matrix(Surface):
    """A matrix of 8 × 8 whose curvature is a Kronecker product, drawn in a plane through its minimum.

        f(W) = ½ tr(Wᵀ A W B)        W = x a₁b₁ᵀ + y a₈b₈ᵀ + what is not seen

    A and B have random orthogonal eigenvectors a₁ … a₈ and b₁ … b₈, and eigenvalues from 1 down to 1 / √κ by equal
    factors. x is the coordinate of the steepest direction and y of the flattest; a run begins with 0.2 in each of the
    62 directions that are not seen, and its loss is the whole one, above the one that is drawn.

    condition: κ, of the whole problem.
    """

    name = "matrix"
    view = ((-2.2, 2.2), (-2.2, 2.2))
    start = (-1.8, 1.5)
    minima = ((0.0, 0.0),)
    log = True
    ranges = {"condition": "[1, inf)"}
    condition: float = 100.0

    def eigenvalues(self) -> Tensor:
        """Of A, and of B."""
        return self.condition ** (-0.5 * torch.arange(SIDE, dtype=torch.float64) / (SIDE - 1))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (x**2 + y**2 / self.condition)

    def begin(self, starts: Tensor) -> Tensor:
        inside = torch.full((len(starts), SIDE, SIDE), 0.2, dtype=starts.dtype)
        inside[:, 0, 0], inside[:, -1, -1] = starts.unbind(-1)
        a, b = turns()
        return a @ inside @ b.T

    def seen(self, parameters: Tensor) -> Tensor:
        a, b = turns()
        inside = a.T @ parameters @ b
        return torch.stack([inside[..., 0, 0], inside[..., -1, -1]], -1)

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        (a, b), h = turns(), self.eigenvalues()
        return 0.5 * ((a.T @ parameters @ b) ** 2 * h[:, None] * h).sum((-2, -1))


@cache
def turns() -> tuple[Tensor, Tensor]:
    """The eigenvectors of A and of B, as columns."""
    chance = torch.Generator().manual_seed(8)
    a, b = (torch.linalg.qr(torch.randn(SIDE, SIDE, dtype=torch.float64, generator=chance))[0] for _ in range(2))
    return a, b
