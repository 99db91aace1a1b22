"""Delayed Nesterov."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import turn, where, zeros


class DelayedNesterov(Optimizer):
    """Nesterov's momentum for a server that receives updates one at a time: the momentum acts in every N-th step only.

        Δ ← Δ + g
        m ← β m + Δ / N,  Δ ← 0                   in every N-th step       β: momentum, N: every
        p ← p − lr ((1 − c N + c) β m + g / N)    in every N-th step
        p ← p − lr (c β m + g / N)                in the others

    g is how far a worker moved in its local steps. Each g arrives alone and late. With plain momentum, every arrival
    would add another step in the direction of all before it, so more workers mean longer steps. Here N arrivals make
    one momentum step, and each moves the parameters by its N-th part when it comes. c in [0, 1/N] spreads the momentum
    over the N steps; with 0, the authors' choice, it acts in the N-th. N = 1 is `ravine.SGD` with nesterov=True.

    Set `every` to the number of workers; 4 is that of the paper's main runs. lr = 0.7 and momentum = 0.9 are DiLoCo's.

    Liu et al. 2024    https://arxiv.org/abs/2401.09135
    """

    papers = ("liu2024async",)
    ranges = {"momentum": "[0, 1)", "c": "[0, 1]"}

    lr: float | torch.Tensor = 0.7
    momentum: float = 0.9
    every: int = 4
    c: float = 0.0

    def init(self, s, p):
        s.m, s.sum = zeros(p), zeros(p)

    def update(self, s, p, g, t):
        n, due = self.every, turn(t + 1, self.every)
        total = s.sum + g
        s.m = m = where(due, self.momentum * s.m + total / n, s.m)
        s.sum = where(due, 0.0 * total, total)
        share = where(due, 1 - self.c * n + self.c, self.c)
        return p - self.lr * (share * self.momentum * m + g / n)
