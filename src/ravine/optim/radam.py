"""RAdam."""

from dataclasses import KW_ONLY
from typing import Literal

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, root, sqrt, where, zeros


class RAdam(Optimizer):
    """Adam whose step is rectified while the variance of v is still unknown: a warm-up that needs no tuning.

        m ← β₁ m + (1 − β₁) g               m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²
        ρ∞ = 2 / (1 − β₂) − 1               ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        r  = √[ (ρ−4)(ρ−2) ρ∞ / ((ρ∞−4)(ρ∞−2) ρ) ]
        p ← p − lr m̂ r √(1 − β₂ᵗ) / (√v + ε)    if ρ > threshold,    else   p − lr m̂

    The paper rectifies from ρ > 4 on, torch from ρ > 5 (the default), the authors' code from ρ ≥ 5, and it
    makes no update before, and no decay: fallback="skip". ε stands beside √v before its correction, as in torch.

    Use it instead of Adam with a warm-up that must be tuned: it has one built in, of about 2 / (1 − β₂) steps. With a
    warm-up in the schedule already it adds little.

    Liu et al. 2020, Algorithm 2    https://arxiv.org/abs/1908.03265
    """

    papers = ("liu2020radam", "kingma2015adam")
    twin = torch.optim.RAdam
    names = {"m": "exp_avg", "v": "exp_avg_sq"}

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    _: KW_ONLY
    threshold: float = 5.0
    fallback: Literal["momentum", "skip"] = "momentum"
    eps_inside: bool = False
    bias_correction: bool = True

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        decayed_p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        c1, c2 = (1 - b1**t, 1 - b2**t) if self.bias_correction else (1, 1)
        adaptive = r * sqrt(c2) / root(s.v, self.eps, self.eps_inside)
        if self.fallback == "skip":
            return where(rho > self.threshold, decayed_p - self.lr * (s.m / c1) * adaptive, p)
        return decayed_p - self.lr * (s.m / c1) * where(rho > self.threshold, adaptive, 1)
