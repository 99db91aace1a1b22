"""Adadelta."""

from dataclasses import KW_ONLY

import torch

from ravine.optimizer import Optimizer
from ravine.words import root, zeros


class Adadelta(Optimizer):
    """The step has the units of the weights: the size of past steps over the size of gradients.

        v ← ρ v + (1 − ρ) g²
        d = g √(u + ε) / √(v + ε)
        u ← ρ u + (1 − ρ) d²
        p ← p − lr d

    The paper has no learning rate (lr = 1) and ρ = 0.95; torch has ρ = 0.9. eps_inside=False takes ε out of
    both roots: √u + ε and √v + ε.

    Use it where no rate can be tuned at all, and to repeat older work; it begins slowly, by ε, and Adam is usually
    better.

    Zeiler 2012, Algorithm 1    https://arxiv.org/abs/1212.5701
    """

    papers = ("zeiler2012adadelta",)
    twin = torch.optim.Adadelta
    names = {"v": "square_avg", "u": "acc_delta"}

    lr: float | torch.Tensor = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0
    _: KW_ONLY
    eps_inside: bool = True

    ranges = {"rho": "[0, 1]"}

    def init(self, s, p):
        s.v, s.u = zeros(p, positive=True), zeros(p, positive=True)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        s.v = self.rho * s.v + (1 - self.rho) * g**2
        d = g * root(s.u, self.eps, self.eps_inside) / root(s.v, self.eps, self.eps_inside)
        s.u = self.rho * s.u + (1 - self.rho) * d**2
        return p - self.lr * d
