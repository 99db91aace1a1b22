"""AdEMAMix: two averages of the gradient, and warm-ups for the slow one."""

import math

import torch

from .draw import DECAY, EPS, RATE, pair, uniform


class AdEMAMixPaper:
    """Pagliardini, Ablin & Grangier 2025, Algorithm 1 and section 3    https://arxiv.org/abs/2409.03137

        β₃(t) ← f_β₃(t, β₃, β₁, T_β₃),  α(t) ← f_α(t, α, T_α)
        m₁ ← β₁ m₁ + (1 − β₁) g,   m̂₁ ← m₁/(1 − β₁ᵗ)
        m₂ ← β₃ m₂ + (1 − β₃) g
        ν ← β₂ ν + (1 − β₂) g²,    ν̂ ← ν/(1 − β₂ᵗ)
        θ ← θ − η ((m̂₁ + α m₂)/(√ν̂ + ε) + λθ)

        f_α = min(tα/T, α)
        f_β₃ = min(exp(ln β_start ln β₃ / ((1 − t/T) ln β₃ + (t/T) ln β_start)), β₃)

    Logarithms are of β + 1e-8, as in the authors' code.
    """

    def __init__(
        self,
        p,
        lr=1e-3,
        betas=(0.9, 0.999, 0.9999),
        alpha=2.0,
        beta3_warmup=None,
        alpha_warmup=None,
        eps=1e-8,
        weight_decay=0.0,
    ):
        self.theta = p.clone()
        self.lr, self.alpha, self.eps, self.lam = lr, alpha, eps, weight_decay
        self.beta1, self.beta2, self.beta3 = betas
        self.T_beta3, self.T_alpha = beta3_warmup, alpha_warmup
        self.m1, self.m2, self.nu = torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)
        self.t = 0

    def f_alpha(self):
        return min(self.t * self.alpha / self.T_alpha, self.alpha) if self.T_alpha else self.alpha

    def f_beta3(self):
        if not self.T_beta3 or self.t >= self.T_beta3:
            return self.beta3
        start, end, x = math.log(self.beta1 + 1e-8), math.log(self.beta3 + 1e-8), self.t / self.T_beta3
        return math.exp(start * end / ((1 - x) * end + x * start))

    def step(self, g):
        self.t = self.t + 1
        alpha, beta3 = self.f_alpha(), self.f_beta3()
        self.m1 = self.beta1 * self.m1 + (1 - self.beta1) * g
        self.m2 = beta3 * self.m2 + (1 - beta3) * g
        self.nu = self.beta2 * self.nu + (1 - self.beta2) * g * g
        m1 = self.m1 / (1 - self.beta1**self.t)
        nu = self.nu / (1 - self.beta2**self.t)
        self.theta = self.theta - self.lr * (
            (m1 + alpha * self.m2) / (torch.sqrt(nu) + self.eps) + self.lam * self.theta
        )
        return self.theta


SPACES = {
    "AdEMAMix": {
        "lr": RATE,
        "betas": pair(uniform(0.5, 0.9), uniform(0.9, 0.999), uniform(0.95, 0.9999)),
        "alpha": uniform(1.0, 8.0),
        "beta3_warmup": [None, 33],
        "alpha_warmup": [None, 21],
        "eps": EPS,
        "weight_decay": DECAY,
    }
}
EDGES = {
    "AdEMAMix": [
        {"betas": (0.0, 0.9, 0.99), "beta3_warmup": 30, "alpha_warmup": 500},
        {"betas": (0.9, 0.99, 0.5), "beta3_warmup": 30},  # the slow one is the faster
        {"betas": (0.9, 0.99, 0.0), "beta3_warmup": 30, "alpha": 0.0},
        {"beta3_warmup": 1, "alpha_warmup": 1},
    ]
}
