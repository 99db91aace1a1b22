"""Adan: adaptive Nesterov momentum."""

import torch

from .draw import DECAY, EITHER, EPS, RATE, pair, uniform


class AdanPaper:
    """Xie et al. 2024, Algorithm 1, with 1 − β for its β    https://arxiv.org/abs/2208.06677

        m_k = β₁ m_{k−1} + (1 − β₁) g_k
        v_k = β₂ v_{k−1} + (1 − β₂)(g_k − g_{k−1})
        n_k = β₃ n_{k−1} + (1 − β₃)[g_k + β₂ (g_k − g_{k−1})]²
        η_k = η / (√n_k + ε)
        θ_{k+1} = (1 + λη)⁻¹ [θ_k − η_k ∘ (m_k + β₂ v_k)]

    g_0 = g_1, so the first difference is 0. m, v and n are corrected by 1 − βᵏ, as in the authors' code.
    no_prox: (1 − λη) θ_k − η_k ∘ (m_k + β₂ v_k).
    """

    def __init__(self, p, lr=1e-3, betas=(0.98, 0.92, 0.99), eps=1e-8, weight_decay=0.0, no_prox=False):
        self.theta = p.clone()
        self.lr, self.eps, self.lam, self.no_prox = lr, eps, weight_decay, no_prox
        self.beta1, self.beta2, self.beta3 = betas
        self.m, self.v, self.n = torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)
        self.last = None
        self.k = 0

    def step(self, g):
        self.k = self.k + 1
        change = g - (g if self.last is None else self.last)
        self.last = g.clone()
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * change
        ahead = g + self.beta2 * change
        self.n = self.beta3 * self.n + (1 - self.beta3) * ahead * ahead
        eta = self.lr / (torch.sqrt(self.n / (1 - self.beta3**self.k)) + self.eps)
        u = self.m / (1 - self.beta1**self.k) + self.beta2 * self.v / (1 - self.beta2**self.k)
        if self.no_prox:
            self.theta = (1 - self.lam * self.lr) * self.theta - eta * u
        else:
            self.theta = (self.theta - eta * u) / (1 + self.lam * self.lr)
        return self.theta


SPACES = {
    "Adan": {
        "lr": RATE,
        "betas": pair(uniform(0.5, 0.98), uniform(0.5, 0.95), uniform(0.9, 0.999)),
        "eps": EPS,
        "weight_decay": DECAY,
        "no_prox": EITHER,
    }
}
EDGES = {"Adan": [{"betas": (0.0, 0.9, 0.99)}, {"betas": (0.9, 0.0, 0.99)}, {"betas": (0.9, 0.9, 0.0), "eps": 1e-3}]}
