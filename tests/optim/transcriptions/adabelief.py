"""AdaBelief: the variance is of the gradient around its own average."""

import math

import torch

from .draw import ADAM, EITHER


class AdaBeliefPaper:
    """Zhuang et al. 2020, Algorithm 2    https://arxiv.org/abs/2010.07468

        m_t ← β₁ m_{t−1} + (1 − β₁) g_t
        s_t ← β₂ s_{t−1} + (1 − β₂) (g_t − m_t)² + ε
        m̂_t ← m_t / (1 − β₁ᵗ),  ŝ_t ← s_t / (1 − β₂ᵗ)
        θ_t ← θ_{t−1} − α m̂_t / (√ŝ_t + ε)

    rectify: RAdam's Algorithm 2 with s for v, from ρ_t ≥ 5 on, ε beside √s; before, α m̂_t alone, or with
    degenerated_to_sgd=False no step. The decay is αλθ_{t−1} (weight_decouple) and happens at every step, or L2.
    amsgrad: the maximum of all s.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-16,
        weight_decay=0.0,
        amsgrad=False,
        weight_decouple=True,
        rectify=True,
        degenerated_to_sgd=True,
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.amsgrad, self.decouple = amsgrad, weight_decouple
        self.rectify, self.sgd = rectify, degenerated_to_sgd
        self.m, self.s, self.smax = torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        self.t = t = self.t + 1
        if self.decouple:
            self.theta = self.theta - self.lr * self.lam * self.theta
        else:
            g = g + self.lam * self.theta
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.s = self.beta2 * self.s + (1 - self.beta2) * (g - self.m) * (g - self.m) + self.eps
        self.smax = torch.maximum(self.smax, self.s)
        s = self.smax if self.amsgrad else self.s
        mhat = self.m / (1 - self.beta1**t)
        shat = s / (1 - self.beta2**t)
        if not self.rectify:
            self.theta = self.theta - self.lr * mhat / (torch.sqrt(shat) + self.eps)
            return self.theta
        rho_inf = 2 / (1 - self.beta2) - 1
        rho = rho_inf - 2 * t * self.beta2**t / (1 - self.beta2**t)
        if rho >= 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            length = math.sqrt(1 - self.beta2**t) / (torch.sqrt(s) + self.eps)
            self.theta = self.theta - self.lr * r * mhat * length
        elif self.sgd:
            self.theta = self.theta - self.lr * mhat
        return self.theta


SPACES = {
    "AdaBelief": ADAM | {"amsgrad": EITHER, "weight_decouple": EITHER, "rectify": EITHER, "degenerated_to_sgd": EITHER}
}
EDGES = {
    "AdaBelief": [
        {"betas": (0.9, 0.6), "eps": 1e-3},  # ρ_∞ = 4
        {"betas": (0.9, 0.3), "eps": 1e-3},
        {"betas": (0.0, 0.99), "eps": 1e-3},  # g − m = 0: s is ε's alone
        {"betas": (0.0, 0.0), "eps": 1e-3, "rectify": False},
        {"betas": (0.9, 0.6), "eps": 1e-3, "degenerated_to_sgd": False, "weight_decay": 0.1},
    ]
}
IDLE = {"AdaBelief": lambda change, hyper: change == {"degenerated_to_sgd"} and not hyper["rectify"]}
