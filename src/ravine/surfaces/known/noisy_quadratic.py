"""The noisy quadratic: gradients as those of a batch are."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface


class NoisyQuadratic(Surface):
    """A quadratic whose gradients have the noise of a batch: the curvature is the noise's covariance, too.

        f(x, y) = ½ (h₁ x² + h₂ y²)        g = (h₁ x, h₂ y) + n        n ~ N(0, diag(h₁, h₂) / B)

    batch: B, the examples that a gradient is the mean of.
    condition: h₂ = 1 is so many times h₁.

    Zhang et al. 2019, "Which Algorithmic Choices Matter at Which Batch Sizes?", section 3
    https://arxiv.org/abs/1907.04164
    """

    name = "noisy-quadratic"
    view = ((-2.2, 2.2), (-1.65, 1.65))
    start = (-1.8, -1.2)
    minima = ((0.0, 0.0),)
    ranges = {"batch": "[1, inf)", "condition": "[1, inf)"}
    batch: int = 16
    condition: float = 10.0

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (x**2 / self.condition + y**2)

    def chance(self, steps: int, generator: torch.Generator) -> Tensor:
        h = torch.tensor([1 / self.condition, 1.0], dtype=torch.float64)
        whole = -(-steps // 8) * 8  # blocks of 16 numbers, for else the last ones would depend on their number
        drawn = torch.randn(whole, 2, dtype=torch.float64, generator=generator)[:steps]
        return drawn * (h / self.batch).sqrt()

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        true = super().objective(parameters, t)
        return true if chance is None else true + (chance * (parameters - parameters.detach())).sum(-1)
