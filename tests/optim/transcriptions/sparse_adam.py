"""SparseAdam: Adam with its corrections drawn into the rate."""

import math

import torch

from .draw import BETAS, EPS, RATE


class SparseAdamPaper:
    """Kingma & Ba 2015, end of section 2: α_t = α √(1 − β₂ᵗ) / (1 − β₁ᵗ), θ_t = θ_{t−1} − α_t m_t / (√v_t + ε̂)

    for each row that has a gradient: here, all of them.    https://arxiv.org/abs/1412.6980
    """

    def __init__(self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.theta = p.clone()
        self.lr, self.beta1, self.beta2, self.eps = lr, *betas, eps
        self.m, self.v, self.t = torch.zeros_like(p), torch.zeros_like(p), 0

    def step(self, g):
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        alpha = self.lr * math.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        self.theta = self.theta - alpha * self.m / (torch.sqrt(self.v) + self.eps)
        return self.theta


SPACES = {"SparseAdam": {"lr": RATE, "betas": BETAS, "eps": EPS}}
EDGES = {"SparseAdam": [{"betas": (0.0, 0.0)}]}
