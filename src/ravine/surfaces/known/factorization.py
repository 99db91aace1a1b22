"""A matrix to be taken apart: a linear network of two layers that share their weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.surfaces.known.matrix import corners, turned, turns
from ravine.surfaces.surface import Surface

UNSEEN = 0.02  # where a run begins in each direction that is not drawn


class Factorization(Surface):
    """A linear network of two layers W and Wᵀ, from small weights: it learns one direction after another.

        f(W) = ¼ ‖W Wᵀ − M‖²        W = x u₁v₁ᵀ + y u₂v₂ᵀ + what is not seen

    M is 2 × 2 with eigenvectors u₁, u₂ and eigenvalues 1 and 1/κ; v₁, v₂ is another basis, and neither lies along the
    axes of W. 0 is a maximum, and where one direction is learned and the other not, there is a saddle: gradient descent
    comes by it, for near 0 a direction grows at the rate of its eigenvalue (Saxe et al. 2014). A step that is as long
    in all directions of the matrix learns both at once. All four numbers move; a run begins with 0.02 in the two that
    are not seen. W times any rotation is as good, so one that leaves the plane may end in a minimum that is not drawn.

    condition: κ.

    Saxe, McClelland & Ganguli 2014    https://arxiv.org/abs/1312.6120
    """

    name = "factorization"
    view = ((-1.4, 1.4), (-1.4, 1.4))
    start = (0.1, 0.1)
    log = True
    ranges = {"condition": "[1, inf)"}
    condition: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        y = self.condition**-0.5
        minima = ((1.0, y), (-1.0, y), (1.0, -y), (-1.0, -y))
        self.__dict__.update(minima=minima, saddles=((1.0, 0.0), (-1.0, 0.0), (0.0, y), (0.0, -y)))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.25 * ((x**2 - 1) ** 2 + (y**2 - 1 / self.condition) ** 2)

    def begin(self, starts: Tensor) -> Tensor:
        return turned(torch.full((len(starts), 2, 2), UNSEEN, dtype=starts.dtype), starts)

    def seen(self, parameters: Tensor) -> Tensor:
        return corners(parameters)

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        u, _ = turns(2)
        m = u @ torch.diag(torch.tensor([1.0, 1 / self.condition], dtype=torch.float64)) @ u.T
        return 0.25 * ((parameters @ parameters.mT - m) ** 2).sum((-2, -1))
