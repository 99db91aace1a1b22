"""Shampoo: AdaGrad with a matrix for each dimension."""

import math

import torch

from transcriptions.draw import DECAY, EPS, RATE, log, pair, uniform


class ShampooPaper:
    """Gupta, Koren & Singer 2018, Algorithm 1    https://arxiv.org/abs/1802.09568

        L_0 = ε I_m,  R_0 = ε I_n
        L_t = L_{t−1} + G_t G_tᵀ
        R_t = R_{t−1} + G_tᵀ G_t
        W_{t+1} = W_t − η L_t^{−1/4} G_t R_t^{−1/4}

    Algorithm 2 for a tensor of order k has the exponent −1/(2k): with one side only, k = 1. Averages, momentum and
    grafting as in Anil et al. 2020 and Shi et al. 2023 (https://arxiv.org/abs/2309.06497): moments are corrected for
    their zero start, and a step takes the norm of another method's. A vector has the diagonal of its matrix of order 1.
    """

    def __init__(
        self, p, lr=1e-2, betas=(0.0, 0.99), eps=1e-6, weight_decay=0.0, decouple=False, average=False, sides="both",
        exponent=None, graft="none", graft_eps=1e-8, interval=1,
    ):  # fmt: skip
        self.w, self.lr, self.eps, self.lam, self.decouple = p.clone(), lr, eps, weight_decay, decouple
        (self.beta1, self.beta2), self.average, self.sides = betas, average, sides
        self.k = 2 if sides == "both" and p.dim() > 1 else 1
        self.power = -1 / (2 * self.k) if exponent is None or p.dim() < 2 else -exponent
        self.graft, self.graft_eps, self.interval, self.t = graft, graft_eps, interval, 0
        self.m, self.v = torch.zeros_like(p), torch.zeros_like(p)
        self.sums = [torch.zeros(n, n, dtype=p.dtype) for n in p.shape]
        self.roots = [torch.eye(n, dtype=p.dtype) for n in p.shape]
        self.diagonal = torch.zeros_like(p)

    def grown(self, x, new, average):
        return self.beta2 * x + (1 - self.beta2) * new if average else x + new

    def unbiased(self, x):
        return x / (1 - self.beta2**self.t) if self.average else x

    def root(self, a):
        values, vectors = torch.linalg.eigh(a + self.eps * torch.eye(len(a), dtype=a.dtype))
        return vectors @ torch.diag(values**self.power) @ vectors.T

    def direction(self, m, g):
        if g.dim() < 2:
            self.diagonal = self.grown(self.diagonal, g * g, self.average)
            return m * (self.unbiased(self.diagonal) + self.eps) ** self.power
        for k, (used, outer) in enumerate((("left", g @ g.T), ("right", g.T @ g))):
            self.sums[k] = self.grown(self.sums[k], outer, self.average)
            if self.sides in ("both", used) and (self.t - 1) % self.interval == 0:
                self.roots[k] = self.root(self.unbiased(self.sums[k]))
        return self.roots[0] @ m @ self.roots[1]

    def grafted(self, m, g):
        if self.graft == "sgd":
            return m
        self.v = self.grown(self.v, g * g, self.graft != "adagrad")
        v = self.v / (1 - self.beta2**self.t) if self.graft == "adam" else self.v
        return m / (torch.sqrt(v) + self.graft_eps)

    def step(self, g):
        self.t += 1
        if not self.decouple:
            g = g + self.lam * self.w
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        m = self.m / (1 - self.beta1**self.t)
        u = self.direction(m, g)
        if self.graft != "none":
            wanted, have = (math.sqrt(math.fsum((x * x).flatten().tolist())) for x in (self.grafted(m, g), u))
            u = u * (wanted / (have + 1e-16))
        if self.decouple:
            self.w = self.w - self.lr * self.lam * self.w
        self.w = self.w - self.lr * u
        return self.w


SPACES = {
    "Shampoo": {
        "lr": RATE,
        "betas": pair(uniform(0.3, 0.9), uniform(0.8, 0.99)),
        "eps": EPS,
        "weight_decay": DECAY,
        "decouple": [True],
        "average": [True, False],  # without it only grafts see β₂
        "sides": ["both", "left", "right"],
        "exponent": uniform(0.2, 0.6),
        "graft": ["none", "sgd", "adam"],
        "graft_eps": log(1e-3, 1e-1),
        "interval": [3],
    }
}
EDGES = {
    "Shampoo": [
        {"eps": 1e-2, "betas": (0.0, 0.0), "average": True},
        {"eps": 1e-2, "betas": (0.5, 0.9), "weight_decay": 0.1},
        *({"eps": 1e-2, "sides": side} for side in ("left", "right")),
        *({"eps": 1e-2, "betas": (0.5, 0.9), "graft": graft} for graft in ("adagrad", "rmsprop", "adam")),
    ]
}


def _idle(change, hyper):
    return change == {"graft_eps"} and hyper["graft"] in ("none", "sgd")


IDLE = {"Shampoo": _idle}
