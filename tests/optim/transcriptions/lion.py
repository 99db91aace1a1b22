"""Lion: the sign of an interpolation, and a slower average kept."""

import torch

from .draw import DECAY, RATE, pair, uniform


class LionPaper:
    """Chen et al. 2023, Algorithm 2    https://arxiv.org/abs/2302.06675

    g_t ← ∇_θ f(θ_{t−1})
    c_t ← β₁ m_{t−1} + (1 − β₁) g_t
    θ_t ← θ_{t−1} − η_t (sign(c_t) + λ θ_{t−1})
    m_t ← β₂ m_{t−1} + (1 − β₂) g_t
    """

    def __init__(self, p, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        self.theta = p.clone()
        self.lr, self.lam = lr, weight_decay
        self.beta1, self.beta2 = betas
        self.m = torch.zeros_like(p)

    def step(self, g):
        c = self.beta1 * self.m + (1 - self.beta1) * g
        self.theta = self.theta - self.lr * (torch.sign(c) + self.lam * self.theta)
        self.m = self.beta2 * self.m + (1 - self.beta2) * g
        return self.theta


SPACES = {"Lion": {"lr": RATE, "betas": pair(uniform(0.5, 0.97), uniform(0.9, 0.999)), "weight_decay": DECAY}}
EDGES = {"Lion": [{"betas": (0.0, 0.0)}, {"betas": (0.0, 0.99)}]}
