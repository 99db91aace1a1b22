"""LaProp: adaptivity first, momentum after."""

import torch

from .draw import ADAM, EITHER


class LaPropPaper:
    """Ziyin, Wang & Ueda 2020, Algorithm 1    https://arxiv.org/abs/2002.04839

        n_{t+1} ← ν n_t + (1 − ν) g_t²
        m_{t+1} ← μ m_t + (1 − μ) g_t / (√(n_{t+1}/c_n) + ε)
        θ_{t+1} ← θ_t − λ_t m_{t+1} / c_m

    c_n = 1 − νᵗ, c_m = 1 − μᵗ. Then the decay, λ_t w of what there is; amsgrad: the maximum of all n.
    """

    def __init__(self, p, lr=4e-4, betas=(0.9, 0.999), eps=1e-15, weight_decay=0.0, amsgrad=False):
        self.theta = p.clone()
        self.lr, self.eps, self.w, self.amsgrad = lr, eps, weight_decay, amsgrad
        self.mu, self.nu = betas
        self.m, self.n, self.most = torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        c_n, c_m = 1 - self.nu**self.t, 1 - self.mu**self.t
        self.n = self.nu * self.n + (1 - self.nu) * g * g
        self.most = torch.maximum(self.most, self.n)
        n = self.most if self.amsgrad else self.n
        self.m = self.mu * self.m + (1 - self.mu) * (g / (torch.sqrt(n / c_n) + self.eps))
        self.theta = self.theta - self.lr * self.m / c_m
        self.theta = self.theta - self.lr * self.w * self.theta
        return self.theta


SPACES = {"LaProp": ADAM | {"amsgrad": EITHER}}
EDGES = {"LaProp": [{"betas": (0.0, 0.9)}, {"betas": (0.0, 0.0), "eps": 1e-3}, {"betas": (0.9, 0.0), "eps": 1e-3}]}
