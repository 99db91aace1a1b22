"""SPlus: the sign of momentum in Shampoo's eigenbasis."""

import torch

from ravine.matrix import basis
from transcriptions.draw import DECAY, RATE, pair, uniform


class SPlusPaper:
    """Frans, Levine & Abbeel 2025, Algorithm 1, in the order of the authors' code    https://arxiv.org/abs/2506.07254

        M ← β_1 M + (1 − β_1) G,  U = Q_L sign(Q_Lᵀ M Q_R) Q_Rᵀ
        L ← β_2 L + (1 − β_2) G Gᵀ,  R ← β_2 R + (1 − β_2) Gᵀ G
        at the first step and at multiples of the interval: Q_L = eig(L), Q_R = eig(R)
        θ ← θ − η 2 / (m + n) U,  θ' ← β_3 θ' + (1 − β_3) θ,  θ ← θ (1 − η 2 / (m + n) λ)

    A vector has Q = I and a constant for 2 / (m + n). It is evaluated at θ' / (1 − β_3ᵗ).
    """

    def __init__(
        self, p, lr=1e-1, betas=(0.9, 0.999), ema_rate=0.999, weight_decay=1e-2, interval=100, vector_scale=1e-3
    ):
        self.theta, self.lr, self.lam, self.every = p.clone(), lr, weight_decay, interval
        (self.beta1, self.beta2), self.beta3, self.t = betas, ema_rate, 0
        self.m, self.mean = torch.zeros_like(p), torch.zeros_like(p)
        self.scale = 2 / sum(p.shape) if p.dim() > 1 else vector_scale
        self.sides = [torch.zeros(n, n, dtype=p.dtype) for n in p.shape] if p.dim() > 1 else []
        self.q = [torch.eye(len(x), dtype=p.dtype) for x in self.sides]

    def step(self, g):
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        u = torch.sign(self.m)
        if self.sides:
            left, right = self.q
            u = left @ torch.sign(left.T @ self.m @ right) @ right.T
            for k, outer in enumerate((g @ g.T, g.T @ g)):
                self.sides[k] = self.beta2 * self.sides[k] + (1 - self.beta2) * outer
                if self.t == 1 or self.t % self.every == 0:
                    self.q[k] = basis(self.sides[k])
        self.theta = self.theta - self.lr * self.scale * u
        self.mean = self.beta3 * self.mean + (1 - self.beta3) * self.theta
        self.theta = self.theta * (1 - self.lr * self.scale * self.lam)
        return self.theta

    def evaluated(self):
        return self.mean / (1 - self.beta3**self.t)


SPACES = {
    "SPlus": {
        "lr": RATE,
        "betas": pair(uniform(0.5, 0.97), uniform(0.8, 0.99)),
        "ema_rate": uniform(0.5, 0.99),
        "weight_decay": DECAY,
        "interval": [1, 4],
        "vector_scale": uniform(0.1, 1.0),
    }
}
EDGES = {"SPlus": [{"betas": (0.0, 0.0), "ema_rate": 0.0, "interval": 3}]}
