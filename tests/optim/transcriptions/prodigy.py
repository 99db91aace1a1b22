"""Prodigy: Adam with an estimate of the distance to the solution for a step size."""

import math

import torch

from .draw import BETAS, EITHER, EPS, RATE, log, uniform
from .whole import flat, unflat


class ProdigyPaper:
    """Mishchenko & Defazio 2024, Algorithm 4    https://arxiv.org/abs/2306.06101

        m_{k+1} = β₁ m_k + (1 − β₁) d_k g_k
        v_{k+1} = β₂ v_k + (1 − β₂) d_k² g_k²
        r_{k+1} = √β₂ r_k + (1 − √β₂) γ_k d_k² ⟨g_k, x_0 − x_k⟩
        s_{k+1} = √β₂ s_k + (1 − √β₂) γ_k d_k² g_k
        d̂_{k+1} = r_{k+1} / ‖s_{k+1}‖₁
        d_{k+1} = max(d_k, d̂_{k+1})
        x_{k+1} = x_k − γ_k d_k m_{k+1} / (√v_{k+1} + d_k ε)

    for k = 0, 1 …, on all parameters as one vector. As in the authors' code ε is multiplied by d_{k+1}. The code has
    more: β₃ in place of √β₂; γ_k multiplied by the bias correction √(1 − β₂^{k+1}) / (1 − β₁^{k+1}); γ_k left out of s
    (safeguard_warmup); d̂ multiplied by d_coef; and d no more than growth_rate times the last, where a d that has been
    held back so catches up with the largest d̂ later. Weight decay is g + λx, or off x as γ d λ x.
    """

    whole = True

    def __init__(
        self,
        points,
        lr=1.0,
        betas=(0.9, 0.999),
        beta3=None,
        eps=1e-8,
        weight_decay=0.0,
        decouple=True,
        use_bias_correction=False,
        safeguard_warmup=False,
        d0=1e-6,
        d_coef=1.0,
        growth_rate=math.inf,
    ):
        self.shapes = [p.shape for p in points]
        self.x = flat(points)
        self.x0 = self.x.clone()
        self.m, self.v, self.s = (torch.zeros_like(self.x) for _ in range(3))
        self.lr, self.eps, self.lam, self.decouple = lr, eps, weight_decay, decouple
        self.beta1, self.beta2 = betas
        self.beta3 = math.sqrt(self.beta2) if beta3 is None else beta3
        self.correct, self.safeguard = use_bias_correction, safeguard_warmup
        self.d0 = self.d = self.largest = d0
        self.d_coef, self.growth = d_coef, growth_rate
        self.r = 0.0
        self.k = 0

    def step(self, grads):
        g, x, d = flat(grads), self.x, self.d
        gamma = self.lr
        if self.correct:
            gamma *= math.sqrt(1 - self.beta2 ** (self.k + 1)) / (1 - self.beta1 ** (self.k + 1))
        if not self.decouple:
            g = g + self.lam * x
        self.m = self.beta1 * self.m + (1 - self.beta1) * d * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * d * d * g * g
        self.r = self.beta3 * self.r + (1 - self.beta3) * gamma * d * d * torch.dot(g, self.x0 - x).item()
        in_s = 1.0 if self.safeguard else gamma
        self.s = self.beta3 * self.s + (1 - self.beta3) * in_s * d * d * g
        length = self.s.abs().sum().item()
        if length > 0:
            estimate = self.d_coef * self.r / length
            grown = max(d, estimate) if d == self.d0 else d
            self.largest = max(self.largest, estimate)
            self.d = min(self.largest, grown * self.growth)
        move = gamma * d * self.m / (torch.sqrt(self.v) + self.d * self.eps)
        if self.decouple:
            move = move + gamma * d * self.lam * x
        self.x = x - move
        self.k = self.k + 1
        return unflat(self.x, self.shapes)


# with gradients that are mostly noise d grows only if d_coef is large
SPACES = {
    "Prodigy": {
        "lr": uniform(1.0, 2.0),
        "betas": BETAS,
        "beta3": uniform(0.7, 0.95),
        "eps": EPS,
        "weight_decay": RATE,
        "decouple": EITHER,
        "use_bias_correction": EITHER,
        "safeguard_warmup": EITHER,
        "d0": log(1e-3, 1e-2),
        "d_coef": uniform(40.0, 60.0),
        "growth_rate": uniform(1.1, 1.3),
    }
}
EDGES = {
    "Prodigy": [
        {"d_coef": 20.0, "d0": 1e-3},
        {"d_coef": 20.0, "growth_rate": 1.0},
        {"d_coef": 20.0, "growth_rate": 1.02},
        {"d_coef": 20.0, "betas": (0.0, 0.9)},
        {"betas": (0.0, 0.0)},
        {"beta3": 0.0},
        {"lr": 0.0},
    ]
}
