"""Delayed Nesterov."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import turn, where, zeros


class DelayedNesterov(Optimizer):
    """Nesterov's momentum for a server that updates come to one at a time: it moves in every N-th step only.

        Δ ← Δ + g
        m ← β m + Δ / N,  Δ ← 0                   in every N-th step       β: momentum, N: every
        p ← p − lr ((1 − c N + c) β m + g / N)    in every N-th step
        p ← p − lr (c β m + g / N)                else

    g is what a worker moved in its local steps. Each arrives by itself and late; with plain momentum each would push
    the server on again in the direction of all before it, and the more workers, the further. Here N of them make one
    momentum step, and each moves the parameters at once by its N-th part. c in [0, 1/N] spreads the momentum over the
    N steps; 0, the authors' choice, leaves it to the N-th. N is the number of workers; N = 1 is Nesterov's momentum
    as in `ravine.NAG` with torch's form.

    Liu et al. 2024    https://arxiv.org/abs/2401.09135
    """

    papers = ("liu2024async",)

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
