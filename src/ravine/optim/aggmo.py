"""AggMo."""

from collections.abc import Mapping
from typing import Any

import torch

from ravine.optimizer import Optimizer
from ravine.words import decayed, zeros


class AggMo(Optimizer):
    """Several momenta side by side, and a step along their mean: what makes one swing is damped by the others.

        vᵢ ← βᵢ vᵢ + g                 for each of the K betas
        p ← p − lr / K Σ vᵢ

    Each place in betas has a state of its own, equal ones too: (0.9, 0.9) is the same path as (0.9,). Other libraries
    keep the states by the value of β and so update one of them twice. The paper's family is βᵢ = 1 − 0.1ⁱ for
    i = 0 … K − 1, of which the default is K = 3. The sum over time of vᵢ is g / (1 − βᵢ), so an lr for
    momentum 0.9 is here to be multiplied by 10 · 3 / (1 + 10 + 100) ≈ 0.27. weight_decay adds λp to g.

    Use it where momentum of 0.99 or more would help but oscillates: it is as fast on flat directions, and needs
    little tuning of β. It keeps K states.

    Lucas et al. 2019, equation 3    https://arxiv.org/abs/1804.00325
    Defaults are those of the authors' code.
    """

    papers = ("lucas2019aggmo",)

    lr: float | torch.Tensor = 1e-2
    betas: tuple[float, ...] | list[float] = (0.0, 0.9, 0.99)
    weight_decay: float = 0.0

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        if not hyper["betas"]:
            raise ValueError("AggMo: betas is empty; it must have one number or more")

    def init(self, s, p):
        s.v = [zeros(p) for _ in self.betas]

    def update(self, s, p, g, t):
        p, g = decayed(p, g, self.lr, self.weight_decay, False)
        s.v = [beta * v + g for beta, v in zip(self.betas, s.v, strict=True)]
        mean: Any = sum(s.v) / len(self.betas)
        return p - self.lr * mean
