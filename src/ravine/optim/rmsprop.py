"""RMSprop."""

from dataclasses import KW_ONLY

import torch

from ravine.optimizer import Optimizer
from ravine.words import maximum, root, zeros


class RMSprop(Optimizer):
    """Divide the gradient by a running average of its recent size.

        v ← α v + (1 − α) g²
        d = g / (√v + ε)
        p ← p − lr d                             momentum: b ← μ b + d,  p ← p − lr b

    centered subtracts the square of the running mean, v − a² with a ← α a + (1 − α) g, under the root, and
    takes 0 where rounding makes that negative (torch gives NaN there). eps_inside puts ε under the root too.
    The lecture has α = 0.9, torch 0.99.

    Use it for reinforcement learning and recurrent networks, where the goal moves and momentum lags behind; elsewhere
    Adam, which adds momentum and corrects v's beginning.

    Hinton 2012, lecture 6e     https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
    Graves 2013 (centered)      https://arxiv.org/abs/1308.0850
    """

    papers = ("hinton2012rmsprop", "graves2013generating")
    twin = torch.optim.RMSprop
    names = {"v": "square_avg", "a": "grad_avg", "b": "momentum_buffer"}
    ranges = {"alpha": "[0, 1]"}

    lr: float | torch.Tensor = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False
    _: KW_ONLY
    eps_inside: bool = False

    def init(self, s, p):
        s.v = zeros(p, positive=True)
        if self.centered:
            s.a = zeros(p)
        if self.momentum:
            s.b = zeros(p)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        s.v = v = self.alpha * s.v + (1 - self.alpha) * g**2
        if self.centered:
            s.a = self.alpha * s.a + (1 - self.alpha) * g
            v = maximum(v - s.a**2, 0)
        d = g / root(v, self.eps, self.eps_inside)
        if self.momentum:
            s.b = d = self.momentum * s.b + d
        return p - self.lr * d
