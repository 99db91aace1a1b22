"""Adam-2k and Adam-eps."""

from typing import ClassVar

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import sqrt, where, zeros


class Adam2k(Optimizer):
    """Adam that looks for 2000 steps before it moves: v is gathered, the weights and m wait.

        v ← β₂ v + (1 − β₂) g²
        m ← β₁ m + (1 − β₁) g                                          if t > warmup
        p ← (1 − lr λ) p − lr m / (1 − β₁ᵗ) · √(1 − β₂ᵗ) / (√v + ε)     if t > warmup

    m begins at zero after the warm-up and is corrected by 1 − β₁ᵗ, which is 1 by then, as in the authors' code: so the
    first steps are a tenth of Adam's, and grow. ε stands beside √v before its correction, as the paper writes it. In
    the paper there is no weight decay, in the authors' code it is lr λ p, as here, and waits too.

    Use it to see what a warm-up is for: the paper shows with it that Adam's early trouble is too few gradients in v.
    `RAdam` needs no steps that stand still.

    Liu et al. 2020, section 3.1    https://arxiv.org/abs/1908.03265
    """

    papers = ("liu2020radam",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 2000

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        moves = t > self.warmup
        s.v = b2 * s.v + (1 - b2) * g**2
        s.m = where(moves, b1 * s.m + (1 - b1) * g, s.m)
        step = self.lr * (s.m / (1 - b1**t)) * sqrt(1 - b2**t) / (sqrt(s.v) + self.eps)
        shrunk = (1 - self.lr * self.weight_decay) * p if self.weight_decay else p
        return where(moves, shrunk - step, p)


class AdamEps(Adam2k):
    """Adam with an ε that is felt: it bounds the steps of the beginning, when v is still uncertain.

        p ← (1 − lr λ) p − lr m / (1 − β₁ᵗ) · √(1 − β₂ᵗ) / (√v + ε)     ε = 10⁻⁴

    ε stands beside √v before its correction, as the paper writes it, so it is felt most at first: at t = 1 it weighs
    1 / √(1 − β₂) ≈ 32 times as much as that of `Adam(eps=1e-4)`.

    Use it to see what a warm-up is for: in the paper it trains where Adam fails, and worse than a warm-up or `RAdam`.

    Liu et al. 2020, section 3.1    https://arxiv.org/abs/1908.03265
    """

    eps: float = 1e-4
    warmup: ClassVar[int] = 0  # pyright: ignore[reportIncompatibleVariableOverride]  # no argument here
