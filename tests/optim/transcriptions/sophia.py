"""Sophia: a momentum divided by an average of the Hessian's diagonal, and clipped."""

import torch

from .draw import BETAS, DECAY, EITHER, log


class SophiaHPaper:
    """Liu et al. 2024, Algorithm 3    https://arxiv.org/abs/2305.14342

        m_t = β₁ m_{t−1} + (1 − β₁) g_t
        if the estimate is due:  h_t = β₂ h_{t−k} + (1 − β₂) ĥ_t    else  h_t = h_{t−1}
        θ_t = θ_t − η_t λ θ_t
        θ_{t+1} = θ_t − η_t clip(m_t / max{γ h_t, ε}, 1)

    with m and h of zeros before the first step.
    """

    curvature = True

    def __init__(self, p, lr=1e-4, betas=(0.965, 0.99), gamma=0.01, eps=1e-12, weight_decay=0.1):
        self.theta, self.lr, self.eps, self.lam, self.gamma = p.clone(), lr, eps, weight_decay, gamma
        self.beta1, self.beta2 = betas
        self.m, self.h = torch.zeros_like(p), torch.zeros_like(p)

    def step(self, g, h):
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        if h is not None:
            self.h = self.beta2 * self.h + (1 - self.beta2) * h
        self.theta = self.theta - self.lr * self.lam * self.theta
        self.theta = self.theta - self.lr * torch.clamp(self.m / self.below(), -1, 1)
        return self.theta

    def below(self):
        return torch.clamp(self.gamma * self.h, min=self.eps)


class SophiaGPaper(SophiaHPaper):
    """The same, with estimates that are not negative, as ĥ = B ∇L̂ ⊙ ∇L̂ is.

    eps_added is the authors' code: |m| / (ρ bs h + ε), at most 1, with the sign of m, where bs h is h here.
    """

    least = 0.0  # of ĥ

    def __init__(self, p, lr=1e-4, betas=(0.965, 0.99), rho=0.04, eps=1e-12, weight_decay=0.1, eps_added=False):
        super().__init__(p, lr, betas, rho, eps, weight_decay)
        self.added = eps_added

    def step(self, g, h):
        if not self.added:
            return super().step(g, h)
        before = self.theta
        super().step(g, h)
        ratio = torch.clamp(self.m.abs() / (self.gamma * self.h + self.eps), max=1)
        self.theta = before * (1 - self.lr * self.lam) - self.lr * self.m.sign() * ratio
        return self.theta


WIDE = {"lr": log(1e-3, 1e-1), "betas": BETAS, "eps": log(1e-3, 1e-1), "weight_decay": DECAY}
SPACES = {
    "SophiaH": {**WIDE, "gamma": log(1e-1, 1e1)},
    "SophiaG": {**WIDE, "rho": log(1e-1, 1e1), "eps_added": EITHER},
}
EDGES = {
    "SophiaH": [{"betas": (0.0, 0.0)}, {"gamma": 0.0}, {"lr": 0.0}],
    "SophiaG": [{"betas": (0.0, 0.0)}, {"rho": 0.0}, {"lr": 0.0}],
}
