"""Simplified AdEMAMix: one sum of gradients, and the newest once more."""

import math

import torch

from .draw import DECAY, EITHER, EPS, RATE, pair, uniform


class SimplifiedAdEMAMixPaper:
    """Morwani et al. 2025, as their code has it (DepenM/Simplified-AdEMAMix)    https://arxiv.org/abs/2502.02431

        m_t = β₁ m_{t−1} + g_t
        ν_t = β₂ ν_{t−1} + (1 − β₂) g_t²
        θ_{t+1} = θ_t − η ((m_t + α g_t) / (√ν̂_t + ε) + λ θ_t)

    with a half-life of m that grows linearly, as log 0.5 / log(β + 1e-8), from that of min_beta1; bias_correction1
    divides the first term by Σᵢ β₁^{t−i}.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.99, 0.95),
        alpha=0.0,
        beta1_warmup=None,
        min_beta1=0.9,
        eps=1e-8,
        weight_decay=0.0,
        bias_correction1=False,
    ):
        self.theta = p.clone()
        self.m, self.nu = torch.zeros_like(p), torch.zeros_like(p)
        self.lr, self.alpha, self.eps, self.lam = lr, alpha, eps, weight_decay
        self.beta1, self.beta2 = betas
        self.T, self.lowest, self.correct = beta1_warmup, min_beta1, bias_correction1
        self.t, self.weights, self.second = 0, 0.0, 0.0

    def beta(self):
        if self.T is None or self.t >= self.T:
            return self.beta1
        first, last = (math.log(0.5) / math.log(beta + 1e-8) for beta in (self.lowest, self.beta1))
        a = self.t / self.T
        return 0.5 ** (1 / ((1 - a) * first + a * last))

    def step(self, g):
        self.t = self.t + 1
        beta1 = self.beta()
        self.m = beta1 * self.m + g
        self.weights = beta1 * self.weights + 1
        self.nu = self.beta2 * self.nu + (1 - self.beta2) * g * g
        self.second = self.beta2 * self.second + (1 - self.beta2)
        u = (self.alpha * g + self.m) / (torch.sqrt(self.nu / self.second) + self.eps)
        if self.correct:
            u = u / self.weights
        self.theta = self.theta - self.lr * (u + self.lam * self.theta)
        return self.theta


SPACES = {
    "SimplifiedAdEMAMix": {
        "lr": RATE,
        "betas": pair(uniform(0.9, 0.999), uniform(0.9, 0.999)),
        "alpha": uniform(0.0, 8.0),
        "beta1_warmup": [None, 33],
        "min_beta1": uniform(0.5, 0.9),
        "eps": EPS,
        "weight_decay": DECAY,
        "bias_correction1": EITHER,
    }
}
EDGES = {
    "SimplifiedAdEMAMix": [
        {"betas": (0.0, 0.9), "beta1_warmup": 30, "min_beta1": 0.0},
        {"betas": (0.5, 0.99), "beta1_warmup": 30, "alpha": 2.0, "bias_correction1": True},  # it begins as the longer
        {"beta1_warmup": 1},
    ]
}
IDLE = {"SimplifiedAdEMAMix": lambda change, hyper: change == {"min_beta1"} and hyper["beta1_warmup"] is None}
