"""Adafactor: a second moment of rows and columns, and steps in units of the weights."""

import math

import torch

from transcriptions.draw import DECAY, EITHER, log, pair, uniform


class AdafactorPaper:
    """Shazeer & Stern 2018, Algorithms 4, 5 and 6    https://arxiv.org/abs/1804.04235

        α_t = max(ε₂, RMS(X_{t−1})) ρ_t              ρ_t = min(10⁻², 1/√t)
        G_t = ∇f_t(X_{t−1})                          β̂_2t = 1 − t^−0.8
        R_t = β̂_2t R_{t−1} + (1 − β̂_2t)(G_t² + ε₁ 1_n 1ᵀ_m) 1_m
        C_t = β̂_2t C_{t−1} + (1 − β̂_2t) 1ᵀ_n (G_t² + ε₁ 1_n 1ᵀ_m)
        V̂_t = R_t C_t / 1ᵀ_n R_t                     (vectors: V̂_t = β̂_2t V̂_{t−1} + (1 − β̂_2t)(G_t² + ε₁))
        U_t = G_t / √V̂_t
        Û_t = U_t / max(1, RMS(U_t) / d)
        X_t = X_{t−1} − α_t Û_t

    form="torch", as torch writes it: means in the place of the sums, ε₁ in no sum, but the mean of R and √V̂ at least ε₁
    each, where None is the precision of the type. lr: the 10⁻². weight_decay: (1 − lr λ) X_{t−1}, of which α knows
    nothing. relative_step=False: ρ_t = lr. scale_parameter=False: α_t = ρ_t. beta1: the average of Û in its place.
    """

    def __init__(
        self,
        p,
        lr=1e-2,
        beta2_decay=-0.8,
        eps=(None, 1e-3),
        d=1.0,
        weight_decay=0.0,
        form="torch",
        relative_step=True,
        scale_parameter=True,
        beta1=0.0,
    ):
        self.x = p.clone()
        self.lr, self.decay, self.d, self.lam, self.beta1 = lr, beta2_decay, d, weight_decay, beta1
        self.form, self.relative, self.scaled = form, relative_step, scale_parameter
        self.eps1, self.eps2 = eps
        if self.eps1 is None:
            self.eps1 = 1e-30 if form == "paper" else 2.0**-52
        self.r = torch.zeros(p.shape[:-1], dtype=p.dtype)
        self.c = torch.zeros(p.shape[:-2] + p.shape[-1:], dtype=p.dtype)
        self.v = torch.zeros_like(p)
        self.m = torch.zeros_like(p)
        self.t = 0

    def rms(self, x):
        numbers = x.flatten().tolist()
        return math.sqrt(math.fsum(y * y for y in numbers) / len(numbers))

    def step(self, g):
        self.t = self.t + 1
        rho = min(self.lr, 1 / math.sqrt(self.t)) if self.relative else self.lr
        alpha = max(self.eps2, self.rms(self.x)) * rho if self.scaled else rho
        beta2 = 1 - self.t**self.decay
        u = g / (self.papers_root(g, beta2) if self.form == "paper" else self.torchs_root(g, beta2))
        u = u / max(1.0, self.rms(u) / self.d)
        if self.beta1 > 0:
            self.m = self.beta1 * self.m + (1 - self.beta1) * u
            u = self.m
        self.x = self.x - self.lr * self.lam * self.x - alpha * u
        return self.x

    def papers_root(self, g, beta2):
        square = g * g + self.eps1
        if g.dim() < 2:
            self.v = beta2 * self.v + (1 - beta2) * square
            return torch.sqrt(self.v)
        self.r = beta2 * self.r + (1 - beta2) * square.sum(-1)
        self.c = beta2 * self.c + (1 - beta2) * square.sum(-2)
        outer = self.r[..., :, None] * self.c[..., None, :]
        return torch.sqrt(outer / self.r.sum(-1)[..., None, None])

    def torchs_root(self, g, beta2):
        square = g * g
        if g.dim() < 2:
            self.v = beta2 * self.v + (1 - beta2) * square
            return torch.clamp(torch.sqrt(self.v), min=self.eps1)
        self.r = beta2 * self.r + (1 - beta2) * square.mean(-1)
        self.c = beta2 * self.c + (1 - beta2) * square.mean(-2)
        outer = self.r[..., :, None] * self.c[..., None, :]
        mean = torch.clamp(self.r.mean(-1), min=self.eps1)
        return torch.clamp(torch.sqrt(outer / mean[..., None, None]), min=self.eps1)


SPACES = {
    "Adafactor": {
        "lr": uniform(0.1, 0.4),
        "beta2_decay": uniform(-0.9, -0.5),
        "eps": pair(log(5e-3, 2e-2), log(0.1, 1.0)),
        "d": uniform(1.0, 1.2),
        "weight_decay": DECAY,
        "form": ["torch", "paper"],
        "relative_step": EITHER,
        "scale_parameter": [True, False, True],  # True at both ends of the list: where it is False ε₂ does nothing
        "beta1": [0.0, 0.8],
    }
}
EDGES = {
    "Adafactor": [
        {"beta2_decay": 0.0},
        {"eps": (None, 0.0)},
        {"eps": (0.1, 1e-3)},  # the mean of R is held, too
        {"form": "paper"},
        {"form": "paper", "eps": (1e-30, 1e-3), "d": 0.5},
        {"lr": 10.0, "scale_parameter": False},
    ]
}
