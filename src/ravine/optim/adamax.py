"""Adamax."""

from dataclasses import KW_ONLY

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import abs, maximum, where, zeros


class Adamax(Optimizer):
    """Adam with the largest recent |g| in place of the average of g².

        m ← β₁ m + (1 − β₁) g
        u ← max(β₂ u, |g| + ε)
        p ← p − lr / (1 − β₁ᵗ) · m / u

    The paper has no ε: eps=0, where a weight without gradients so far stays, since 0/0 is no step. torch puts ε inside
    the maximum; eps_inside=False puts it into the denominator, u + ε, as Keras does. bias_correction=False uses m as it
    is.

    Use it where gradients are mostly zero or now and then very large, as of embeddings: a step never exceeds about
    lr, and u needs no squares, so it keeps its range in low precision. `LpAdam` is what lies between it and Adam.

    Kingma & Ba 2015, Algorithm 2    https://arxiv.org/abs/1412.6980
    """

    papers = ("kingma2015adam",)
    twin = torch.optim.Adamax
    names = {"m": "exp_avg", "u": "exp_inf"}

    lr: float | torch.Tensor = 2e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    _: KW_ONLY
    eps_inside: bool = True
    bias_correction: bool = True

    def init(self, s, p):
        s.m, s.u = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        if self.weight_decay:
            g = g + self.weight_decay * p
        s.m = b1 * s.m + (1 - b1) * g
        s.u = maximum(b2 * s.u, abs(g) + self.eps if self.eps_inside else abs(g))
        correction = 1 - b1**t if self.bias_correction else 1.0
        step = self.lr / correction * s.m / (s.u if self.eps_inside else s.u + self.eps)
        return p - (step if self.eps else where(s.u <= 0, 0, step))
