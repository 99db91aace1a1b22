"""ASGD."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import lerp, maximum, number, where, zeros


class ASGD(Optimizer):
    """SGD whose weights are averaged over the steps after t₀: noise that SGD keeps is averaged away.

        p ← (1 − λ η) p − η g                    λ: lambd
        a ← a + μ (p − a)                        the average
        η ← lr / (1 + λ lr t)^α                  μ ← 1 / max(1, t − t₀)          for the next step

    As in torch the model holds p, and the average lies in `opt.state[p]["ax"]`; here `eval()` puts it into the model
    and `train()` puts p back. What is averaged are the weights after step t₀ + 1, a million by default: set t0.
    The η of a step comes from the lr of the step before. Polyak & Juditsky have no λ; that and η's schedule are
    Bottou's SGD. weight_decay adds its own multiple of p to g.

    Use it on convex problems, or at the end of training: averaging over late steps does what letting the rate fall to
    zero does.

    Polyak & Juditsky 1992    https://doi.org/10.1137/0330046
    Bottou 2010               https://doi.org/10.1007/978-3-7908-2604-3_16
    Numbers, names and defaults are those of torch.optim.ASGD.
    """

    papers = ("polyak1992averaging", "bottou2010sgd")
    twin = torch.optim.ASGD

    lr: float | torch.Tensor = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0.0

    def init(self, s, p):
        s.eta, s.mu, s.ax = number(self.lr), number(1.0), zeros(p)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        new = (1 - self.lambd * s.eta) * p - s.eta * g
        s.ax = where(s.mu < 1, lerp(s.ax, new, s.mu), new)
        s.eta = self.lr / (1 + self.lambd * self.lr * t) ** self.alpha
        s.mu = 1 / maximum(1, t - self.t0)
        return new

    def to_eval(self, s, p):
        return s.ax
