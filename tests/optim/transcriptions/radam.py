"""RAdam: Adam that trusts its second moment only as far as its variance is known."""

import math

import torch


class RAdamPaper:
    """Liu et al. 2020, Algorithm 2    https://arxiv.org/abs/1908.03265

        ρ_∞ ← 2 / (1 − β₂) − 1
        v_t ← β₂ v_{t−1} + (1 − β₂) g_t²
        m_t ← β₁ m_{t−1} + (1 − β₁) g_t
        m̂_t ← m_t / (1 − β₁ᵗ)
        ρ_t ← ρ_∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        if the variance is tractable, ρ_t > 4:
            l_t ← √((1 − β₂ᵗ) / v_t)
            r_t ← √((ρ_t − 4)(ρ_t − 2) ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2) ρ_t))
            θ_t ← θ_{t−1} − α_t r_t m̂_t l_t
        else:
            θ_t ← θ_{t−1} − α_t m̂_t

    torch and the authors' code ask for 5 where the paper asks for 4 (`threshold`); ε joins as √v + ε
    (both), or √(v + ε) with eps_inside. fallback="skip" is the authors' code: θ stays, without decay too,
    while ρ_t ≤ threshold (https://github.com/LiyuanLucasLiu/RAdam, degenerated_to_sgd=False).
    bias_correction=False: m for m̂ and 1/(√v + ε) for l_t. weight_decay is L2, or αλθ beside the step
    with decoupled_weight_decay.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        decoupled_weight_decay=False,
        threshold=5.0,
        fallback="momentum",
        eps_inside=False,
        bias_correction=True,
    ):
        self.theta = p.clone()
        self.lr, self.eps, self.lam, self.decoupled = lr, eps, weight_decay, decoupled_weight_decay
        self.beta1, self.beta2 = betas
        self.threshold, self.fallback = threshold, fallback
        self.eps_inside, self.bias_correction = eps_inside, bias_correction
        self.m = torch.zeros_like(p)
        self.v = torch.zeros_like(p)
        self.t = 0

    def step(self, g):
        rho_inf = 2 / (1 - self.beta2) - 1
        self.t = t = self.t + 1
        if not self.decoupled:
            g = g + self.lam * self.theta
        self.v = self.beta2 * self.v + (1 - self.beta2) * g * g
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        mhat = self.m / (1 - self.beta1**t) if self.bias_correction else self.m
        rho = rho_inf - 2 * t * self.beta2**t / (1 - self.beta2**t)
        decay = self.lr * self.lam * self.theta if self.decoupled else 0.0
        if rho > self.threshold:
            root = torch.sqrt(self.v + self.eps) if self.eps_inside else torch.sqrt(self.v) + self.eps
            l = math.sqrt(1 - self.beta2**t) / root if self.bias_correction else 1 / root
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            self.theta = self.theta - self.lr * r * mhat * l - decay
        elif self.fallback == "momentum":
            self.theta = self.theta - self.lr * mhat - decay
        elif self.fallback != "skip":
            raise ValueError(self.fallback)
        return self.theta
