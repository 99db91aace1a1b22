"""LARS: SGD with momentum whose steps are scaled, layer by layer, to the layer's weights."""

import math

import torch

from transcriptions.draw import DECAY, RATE, log, uniform


def length(x):
    return math.sqrt(math.fsum(a * a for a in x.flatten().tolist()))


class LARSPaper:
    """You, Gitman & Ginsburg 2017, Algorithm 1, with η of equation 6    https://arxiv.org/abs/1708.03888

        g_t ← ∇L(w_t)
        λ ← η ‖w_t‖ / (‖g_t‖ + β ‖w_t‖)
        v_{t+1} ← m v_t + γ_{t+1} λ (g_t + β w_t)
        w_{t+1} ← w_t − v_{t+1}

    for each layer (here: tensor). λ = 1 where ‖w_t‖ or what is below it is 0. The denominator may be ‖g_t + β w_t‖
    (decayed) or ‖g_t‖ (gradient) instead; eps is added to it.
    """

    def __init__(self, p, lr=1.0, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=0.0, denominator="sum"):
        self.w = p.clone()
        self.lr, self.m, self.beta, self.eta, self.eps = lr, momentum, weight_decay, trust_coefficient, eps
        self.denominator = denominator
        self.v = torch.zeros_like(p)

    def step(self, g):
        update = g + self.beta * self.w
        below = {
            "sum": length(g) + self.beta * length(self.w),
            "decayed": length(update),
            "gradient": length(g),
        }[self.denominator]
        rate = self.eta * length(self.w) / (below + self.eps) if length(self.w) > 0 and below > 0 else 1.0
        self.v = self.m * self.v + self.lr * rate * update
        self.w = self.w - self.v
        return self.w


SPACES = {
    "LARS": {
        "lr": RATE,
        "momentum": uniform(0.3, 0.99),
        "weight_decay": DECAY,
        "trust_coefficient": log(1e-2, 1.0),
        "eps": log(1e-2, 1.0),
        "denominator": ["sum", "decayed", "gradient"],
    },
}
EDGES = {"LARS": [{"momentum": 0.0}, {"eps": 0.0, "weight_decay": 0.1, "denominator": "decayed"}]}
