"""The family of rules between Adam and Adamax."""

from collections.abc import Mapping
from typing import Any

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import abs, sqrt, zeros


class LpAdam(Optimizer):
    """Adam with |g|ᵖ in place of g² and the p-th root in place of √: p = 2 is Adam, p → ∞ is Adamax.

        m ← β₁ m + (1 − β₁) g                 m̂ = m / (1 − β₁ᵗ)
        v ← β₂ᵖ v + (1 − β₂ᵖ) |g|ᵖ            û = (v / (1 − β₂ᵖᵗ))^(1/p)
        θ ← θ − lr m̂ / (û + ε)

    p is 2, 4, 8, 16 …, so that powers and roots are repeated squares and square roots. β₂ is the paper's: at p = 2
    it is that of Adam squared, Adam(betas=(β₁, β₂²)). The paper has no ε here; it stands where Adam's does.
    For large p the numbers leave the type: in float32, p = 16 makes 0 of |g| < 0.002, and so a step of lr m̂ / ε, and
    infinity of |g| > 256, which is never forgotten: the weight stands still. That is why there is `Adamax`.

    Use it to see what lies between Adam and Adamax, in float64 or with p = 4 and gradients near 1. To train, take
    one of those two.

    Kingma & Ba 2015, section 7.1    https://arxiv.org/abs/1412.6980
    """

    papers = ("kingma2015adam",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    p: int = 4

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        if hyper["p"] < 2 or hyper["p"] & (hyper["p"] - 1):
            raise ValueError(f"LpAdam: p is {hyper['p']}; it must be 2, 4, 8, 16 or a higher power of two")

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        (b1, b2), doublings = self.betas, self.p.bit_length() - 1
        if self.weight_decay:
            g = g + self.weight_decay * p
        power, b2p = abs(g), b2**self.p
        for _ in range(doublings):
            power = power * power
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2p * s.v + (1 - b2p) * power
        u = s.v / (1 - b2p**t)
        for _ in range(doublings):
            u = sqrt(u)
        return p - self.lr * (s.m / (1 - b1**t)) / (u + self.eps)
