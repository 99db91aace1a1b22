"""The problem on which Adam goes the wrong way."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface


class Reddi(Surface):
    """A rare large gradient one way, many small ones the other: Adam forgets the large one and goes up.

        x, online:      f_t(x) = C x where t mod period = 1, and −c x else
        y, by chance:   f_t(y) = C y with probability `chance_of_large`, and −c y else
        both in [−1, 1]; the drawn loss is the mean

    large, small, period: C, c, and how often the large one comes.
    chance_of_large: its probability for y.

    The best point is (−1, −1). The paper runs Adam and AMSGrad with β = (0.9, 0.99); with β₁ = 0 and β₂ = 1 / (1 + C²)
    it proves that Adam goes to x = 1 where C > 2, c = 1 and the period is 3.

    Reddi, Kale & Kumar 2018, section 3, Theorem 1 and section 5    https://arxiv.org/abs/1904.09237
    """

    name = "reddi"
    view = ((-1.1, 1.1), (-1.1, 1.1))
    start = (0.0, 0.0)
    ranges = {"period": "[2, inf)", "chance_of_large": "(0, 1)"}
    large: float = 1010.0
    small: float = 10.0
    period: int = 101
    chance_of_large: float = 0.01

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        online = (self.large - (self.period - 1) * self.small) / self.period
        stochastic = self.chance_of_large * self.large - (1 - self.chance_of_large) * self.small
        return online * x + stochastic * y

    def chance(self, steps: int, generator: torch.Generator) -> Tensor:
        return torch.rand(steps, dtype=torch.float64, generator=generator) < self.chance_of_large

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        true = super().objective(parameters, t).detach()
        x, y = (parameters - parameters.detach()).unbind(-1)
        slope = torch.where(t % self.period == 0, self.large, -self.small)  # the paper counts t from 1
        if chance is None:
            return true + slope * x
        return true + slope * x + torch.where(chance, self.large, -self.small) * y

    def project(self, parameters: Tensor) -> None:
        parameters.clamp_(-1, 1)
