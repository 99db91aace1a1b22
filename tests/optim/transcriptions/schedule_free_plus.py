"""ScheduleFree+: Schedule-Free AdamC with Polyak's step."""

import math

import torch

from .draw import DECAY, EPS, log, pair, uniform
from .whole import flat, unflat


class ScheduleFreePlusPaper:
    """Defazio 2026, as the authors' adamc_schedulefree_plus_paper.py has it    https://arxiv.org/abs/2605.19095

        F + I = f(y) + β̃ ⟨g, z − x⟩
        e ← β_p e + (1 − β_p) ‖g‖₁ √(π/2),                  ê = e / (1 − β_pᵗ)
        α = γ max(0, F + I) / ê
        z ← z − α² λ y,                                     z ← z − α m̂ / (√v̂ + ε)
        w = tʳ (max of α so far)^power, W ← W + w, c = w/W; c = 1 and W as it was in the first C steps
        x ← (1 − c) x + c z,                                y ← β̃ x + (1 − β̃) z

    on all parameters as one vector; 1 − β̃ goes from 1 − sf_beta1 to 1 − sf_beta1_max geometrically.
    """

    whole = loss = True

    def __init__(
        self,
        points,
        lr=1.0,
        betas=(0.9, 0.95),
        sf_beta1=0.9,
        eps=1e-8,
        weight_decay=0.0,
        r=0.0,
        polyak_beta=0.0,
        c_warmup=0,
        sf_beta1_anneal_steps=0,
        sf_beta1_max=0.965,
        weight_lr_power=2,
    ):
        self.shapes = [p.shape for p in points]
        self.x, self.y, self.z = (flat(points) for _ in range(3))
        self.m, self.v = torch.zeros_like(self.x), torch.zeros_like(self.x)
        self.lr, self.betas, self.eps, self.lam, self.r = lr, betas, eps, weight_decay, r
        self.first, self.last, self.T = sf_beta1, sf_beta1_max, sf_beta1_anneal_steps
        self.beta_p, self.C, self.power = polyak_beta, c_warmup, weight_lr_power
        self.t, self.e, self.W, self.largest = 0, 0.0, 0.0, eps

    def step(self, grads, loss):
        g, (beta1, beta2) = flat(grads), self.betas
        done = min(self.t / self.T, 1.0) if self.T else 0.0
        beta = 1 - (1 - self.first) ** (1 - done) * (1 - self.last) ** done
        self.t = t = self.t + 1
        self.e = self.beta_p * self.e + (1 - self.beta_p) * math.fsum(g.abs().tolist()) * math.sqrt(math.pi / 2)
        left = loss + beta * torch.dot(g, self.z - self.x).item()
        alpha = max(self.lr, self.eps) * max(0.0, left) / (self.e / (1 - self.beta_p**t))
        self.largest = max(self.largest, alpha)
        c = 1.0
        if t > self.C:
            w = t**self.r * self.largest**self.power
            self.W = self.W + w
            c = w / self.W
        self.z = self.z - alpha**2 * self.lam * self.y
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g * g
        denominator = torch.sqrt(self.v / (1 - beta2**t)) + self.eps
        self.z = self.z - alpha * (self.m / (1 - beta1**t)) / denominator
        self.x = (1 - c) * self.x + c * self.z
        self.y = beta * self.x + (1 - beta) * self.z
        return unflat(self.y, self.shapes)

    def evaluated(self):
        return unflat(self.x, self.shapes)


SPACES = {
    "ScheduleFreePlus": {
        "lr": log(5.0, 50.0),
        "betas": pair(uniform(0.5, 0.97), uniform(0.9, 0.999)),
        "sf_beta1": uniform(0.5, 0.97),
        "eps": EPS,
        "weight_decay": DECAY,
        "r": uniform(0.5, 2.0),
        "polyak_beta": uniform(0.0, 0.9),
        "c_warmup": [0, 7],
        "sf_beta1_anneal_steps": [0, 20],
        "weight_lr_power": [0, 1, 2],
    }
}
EDGES = {
    "ScheduleFreePlus": [
        {"sf_beta1": 0.0},
        {"betas": (0.0, 0.9), "polyak_beta": 0.5, "sf_beta1_anneal_steps": 1},
        {"c_warmup": 500, "weight_decay": 5.0},
    ]
}
