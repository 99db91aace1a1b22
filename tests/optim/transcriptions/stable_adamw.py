"""StableAdamW: AdamW with AdaFactor's clipping of the update."""

import math

import torch

from .draw import ADAM


class StableAdamWPaper:
    """Wortsman et al. 2023, Algorithm 2    https://arxiv.org/abs/2304.13013

        β̂₁ = β₁ (1 − β₁ᵗ⁻¹)/(1 − β₁ᵗ)        β̂₂ = β₂ (1 − β₂ᵗ⁻¹)/(1 − β₂ᵗ)
        v_t = β̂₁ v_{t−1} + (1 − β̂₁) g_t
        u_t = β̂₂ u_{t−1} + (1 − β̂₂) g_t²
        RMS_t = √ E[g_t² / max(u_t, ε²)]
        η_t = α_t / max(1, RMS_t)
        θ_t = θ_{t−1} − η_t λ θ_{t−1} − η_t v_t / (√u_t + ε)

    for each tensor.
    """

    def __init__(self, p, lr=1e-3, betas=(0.9, 0.99), eps=1e-6, weight_decay=1e-2):
        self.theta, self.v, self.u = p.clone(), torch.zeros_like(p), torch.zeros_like(p)
        self.lr, self.eps, self.lam = lr, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        hat1 = self.beta1 * (1 - self.beta1 ** (self.t - 1)) / (1 - self.beta1**self.t)
        hat2 = self.beta2 * (1 - self.beta2 ** (self.t - 1)) / (1 - self.beta2**self.t)
        self.v = hat1 * self.v + (1 - hat1) * g
        self.u = hat2 * self.u + (1 - hat2) * g * g
        ratios = (g * g / torch.clamp(self.u, min=self.eps**2)).flatten().tolist()
        rms = math.sqrt(math.fsum(ratios) / len(ratios))
        eta = self.lr / max(1.0, rms)
        self.theta = self.theta - eta * self.lam * self.theta - eta * self.v / (torch.sqrt(self.u) + self.eps)
        return self.theta


SPACES = {"StableAdamW": ADAM}
EDGES = {"StableAdamW": [{"betas": (0.0, 0.0)}, {"betas": (0.9, 0.0)}, {"betas": (0.0, 0.99)}]}
