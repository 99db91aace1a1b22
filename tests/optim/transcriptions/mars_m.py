"""MARS-M: a corrected and clipped gradient, its average, and the polar factor of that."""

import math

import torch

from .draw import DECAY, RATE, uniform
from .muon import JORDAN, orthogonalized


class MARSMPaper:
    """Liu, Yuan & Gu 2025, Algorithm 3 (MARS-M-approx)    https://arxiv.org/abs/2510.21800

        C_t = G_t + γ (β / (1 − β)) (G_t − G_{t−1})
        M_t = β M_{t−1} + (1 − β) Clip(C_t, 1)
        O_t = NewtonSchulz(M_t)
        X_{t+1} = X_t − η (0.2 O_t √max(A, B) + λ X_t)

    G_0 = 0, as in the authors' code.
    """

    def __init__(self, p, lr=1e-3, weight_decay=0.1, momentum=0.95, gamma=0.025, ns_coefficients=JORDAN):
        self.X, self.M, self.G = p.clone(), torch.zeros_like(p), torch.zeros_like(p)
        self.lr, self.lam, self.beta, self.gamma, self.abc = lr, weight_decay, momentum, gamma, ns_coefficients

    def step(self, g):
        C = g + self.gamma * (self.beta / (1 - self.beta)) * (g - self.G)
        length = torch.linalg.norm(C).item()
        if length > 1:
            C = C / length
        self.G = g.clone()
        self.M = self.beta * self.M + (1 - self.beta) * C
        matrix = self.M.reshape(self.M.shape[0], -1) if self.M.dim() > 1 else self.M.reshape(-1, 1)
        O = orthogonalized(matrix, [self.abc] * 5, 1e-7).reshape(g.shape)
        self.X = self.X - self.lr * (0.2 * math.sqrt(max(matrix.shape)) * O + self.lam * self.X)
        return self.X


SPACES = {
    "MARSM": {
        "lr": RATE,
        "weight_decay": DECAY,
        "momentum": uniform(0.3, 0.97),
        "gamma": uniform(0.01, 0.3),
        "ns_coefficients": lambda rng: tuple(x * uniform(0.95, 1.0)(rng) for x in (3.0, -3.2, 1.2)),
    }
}
EDGES = {"MARSM": [{"gamma": 0.0}, {"momentum": 0.0, "ns_coefficients": (3.0, -3.2, 1.2)}]}
