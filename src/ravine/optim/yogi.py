"""Yogi."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, sign, sqrt, where, zeros


class Yogi(Optimizer):
    """Adam whose v moves towards g² by a step as large as g² itself, not as the gap: it forgets slowly.

        m ← β₁ m + (1 − β₁) g                    m̂ = m / (1 − β₁ᵗ)
        v ← v − (1 − β₂) sign(v − g²) g²         v̂ = v / (1 − β₂ᵗ)
        p ← p − lr m̂ / (√v̂ + ε)

    v begins at initial_accumulator (read at the first step), m at 0. The paper's Algorithm 2 has no corrections
    (bias_correction=False), and its authors propose to begin v at g², averaged over a large batch
    (v_from_gradient=True: v = g² at the first step, and no correction of v, which is not biased then). Libraries
    correct both, as is the default here. Those of optax, jettify and kozistr begin m, too, at
    initial_accumulator, so that even a weight without gradients moves; here it stays.
    weight_decay adds λp to g; decoupled_weight_decay takes lr λ p off the weights.

    Use it where gradients are sparse or rare and Adam forgets them: v falls slowly after a large gradient, so the
    steps do not grow at once. The paper has lr 1e-2, ε 1e-3, and a rate that decreases.

    Zaheer et al. 2018, Algorithm 2    https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization
    """

    papers = ("zaheer2018yogi",)

    lr: float | torch.Tensor = 1e-2
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-3
    initial_accumulator: float = 1e-6
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    v_from_gradient: bool = False
    bias_correction: bool = True

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        s.m = b1 * s.m + (1 - b1) * g
        v = where(t > 1, s.v, self.initial_accumulator)
        v = v - (1 - b2) * sign(v - g**2) * g**2
        s.v = where(t > 1, v, g**2) if self.v_from_gradient else v
        c1, c2 = (1 - b1**t, 1 - b2**t) if self.bias_correction else (1, 1)
        return p - self.lr * (s.m / c1) / (sqrt(s.v / (1 if self.v_from_gradient else c2)) + self.eps)
