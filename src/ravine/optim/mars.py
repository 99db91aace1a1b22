"""MARS."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, maximum, norm, sqrt, zeros


class MARS(Optimizer):
    """AdamW on gradients from which part of the noise is taken, by comparing each with the one before.

        c = g + γ β₁ / (1 − β₁) (g − g₋₁)         g₋₁: the gradient of the last step, 0 at first
        c ← c / max(1, ‖c‖)
        m ← β₁ m + (1 − β₁) c                     m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) c²                    v̂ = v / (1 − β₂ᵗ)
        p ← (1 − lr λ) p − lr m̂ / (√v̂ + ε)

    This is the paper's MARS-AdamW in its approximate form, which the authors use by default; the exact one takes g₋₁
    of this step's batch at the last step's weights, by a second backward pass. In the paper c = g at the first step;
    in the authors' code, and here, g₋₁ = 0 there. amsgrad divides by the largest v so far, corrected.

    Every tensor moves by this rule, as with optimize_1d=True in the authors' code. By default that code moves all but
    tensors of exactly two dimensions, so convolutions too, by AdamW with lr 3e-3, betas (0.9, 0.95) and
    weight_decay 0.1, and without the clip: put those into `AdamW` with these numbers. The clip is per tensor; without
    it, or with γ = 0.0025, as some libraries have it, it is another method.

    Use it for language models in the place of AdamW, where memory for one more gradient is to spare.

    Yuan et al. 2025, Algorithm 2    https://arxiv.org/abs/2411.10438
    """

    papers = ("yuan2025mars",)

    lr: float | torch.Tensor = 3e-3
    betas: Pair = (0.95, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    gamma: float = 0.025

    def init(self, s, p):
        s.m, s.v, s.last = zeros(p), zeros(p, positive=True), zeros(p)
        if self.amsgrad:
            s.vmax = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        c = g + self.gamma * b1 / (1 - b1) * (g - s.last)
        c = c / maximum(1, norm(c))
        s.last = g
        s.m = b1 * s.m + (1 - b1) * c
        s.v = v = b2 * s.v + (1 - b2) * c**2
        if self.amsgrad:
            s.vmax = v = maximum(s.vmax, v)
        return p - self.lr * (s.m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + self.eps)
