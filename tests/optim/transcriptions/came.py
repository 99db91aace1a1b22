"""CAME: Adafactor that trusts its momentum where the last updates agreed with it."""

import math

import torch

from transcriptions.draw import DECAY, RATE, log, uniform


class CAMEPaper:
    """Luo et al. 2023, Algorithm 2    https://arxiv.org/abs/2307.02047

        R_t = β₂ R_{t−1} + (1 − β₂)(g_t² + ε₁ 1_n 1ᵀ_m) 1_m
        C_t = β₂ C_{t−1} + (1 − β₂) 1ᵀ_n (g_t² + ε₁ 1_n 1ᵀ_m)
        u_t = g_t / √v_t,  v_t = R_t C_t / 1ᵀ_n R_t
        û_t = u_t / max(1, RMS(u_t) / d)
        m_t = β₁ m_{t−1} + (1 − β₁) û_t
        U_t = (û_t − m_t)²
        R'_t = β₃ R'_{t−1} + (1 − β₃)(U_t + ε₂ 1_n 1ᵀ_m) 1_m
        C'_t = β₃ C'_{t−1} + (1 − β₃) 1ᵀ_n (U_t + ε₂ 1_n 1ᵀ_m)
        S_t = R'_t C'_t / 1ᵀ_n R'_t
        θ_t = θ_{t−1} − η m_t / √S_t

    A vector has v_t = β₂ v_{t−1} + (1 − β₂)(g_t² + ε₁) and θ_t = θ_{t−1} − η m_t, and the sums are means: both as in
    the authors' code, from which the decay η λ θ_{t−1} is too.
    """

    def __init__(
        self, p, lr=2e-4, eps=(1e-30, 1e-16), clip_threshold=1.0, betas=(0.9, 0.999, 0.9999), weight_decay=0.0
    ):
        self.theta = p.clone()
        self.lr, self.d, self.lam = lr, clip_threshold, weight_decay
        self.eps1, self.eps2 = eps
        self.beta1, self.beta2, self.beta3 = betas
        self.m, self.v = torch.zeros_like(p), torch.zeros_like(p)
        self.r, self.c = [0.0] * p.shape[0] if p.dim() > 1 else [], [0.0] * p.shape[-1] if p.dim() > 1 else []
        self.r2, self.c2 = list(self.r), list(self.c)

    def factored(self, beta, r, c, square):
        n, k = square.shape
        for i in range(n):
            r[i] = beta * r[i] + (1 - beta) * math.fsum(square[i].tolist()) / k
        for j in range(k):
            c[j] = beta * c[j] + (1 - beta) * math.fsum(square[:, j].tolist()) / n
        mean = math.fsum(r) / n
        return torch.outer(torch.tensor(r, dtype=torch.float64), torch.tensor(c, dtype=torch.float64)) / mean

    def step(self, g):
        square = g * g + self.eps1
        if g.dim() > 1:
            v = self.factored(self.beta2, self.r, self.c, square)
        else:
            self.v = v = self.beta2 * self.v + (1 - self.beta2) * square
        u = g / torch.sqrt(v)
        u = u / max(1.0, math.sqrt(torch.mean(u * u).item()) / self.d)
        self.m = self.beta1 * self.m + (1 - self.beta1) * u
        step = self.m
        if g.dim() > 1:
            instability = (u - self.m) ** 2 + self.eps2
            step = self.m / torch.sqrt(self.factored(self.beta3, self.r2, self.c2, instability))
        self.theta = self.theta - self.lr * self.lam * self.theta - self.lr * step
        return self.theta


def betas(rng):
    return tuple(uniform(low, high)(rng) for low, high in ((0.5, 0.95), (0.9, 0.999), (0.9, 0.9999)))


SPACES = {
    "CAME": {
        "lr": RATE,
        "eps": lambda rng: (log(1e-5, 1e-3)(rng), log(1e-4, 1e-2)(rng)),
        "clip_threshold": uniform(0.3, 1.0),
        "betas": betas,
        "weight_decay": DECAY,
    }
}
EDGES = {"CAME": [{"betas": (0.0, 0.0, 0.0), "eps": (1e-30, 1e-4)}]}
