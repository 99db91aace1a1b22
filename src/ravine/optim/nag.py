"""Nesterov's accelerated gradient, with the gradient where the paper takes it."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer
from ravine.words import number, zeros


class NAG(Optimizer):
    """Momentum that looks ahead: the gradient is taken where the ball is about to be.

        heavy_ball    v ← γ v + lr g(p − γ v)                p ← p − v
        average       v ← γ v + (1 − γ) g(p − lr γ v)        p ← p − lr v

    While training the model holds the look-ahead point p − γ v (average: p − lr γ v), so `backward()` gives the
    gradient there; `eval()` puts p into the model, `train()` the look-ahead back. γ and lr may follow a schedule:
    `ahead` remembers with which factor the model's weights look ahead. weight_decay adds λ times the look-ahead point
    to g, as the gradient of a penalty taken there.

    `SGD(nesterov=True)` keeps only the look-ahead points (Bengio et al. 2013) and never returns to p.

    Use it on smooth problems with little noise, where the look-ahead is exact and momentum may be large; else
    `SGD(nesterov=True)` is simpler and needs no `eval()`.

    Nesterov 1983; Sutskever et al. 2013, equations 3 and 4    https://proceedings.mlr.press/v28/sutskever13.html
    """

    papers = ("nesterov1983method", "sutskever2013momentum")
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 1e-2
    momentum: float = 0.9
    weight_decay: float = 0.0
    form: Literal["heavy_ball", "average"] = "heavy_ball"

    def init(self, s, p):
        s.v, s.ahead = zeros(p), number(0.0)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        theta = self.to_eval(s, p)
        if self.form == "average":
            s.v = self.momentum * s.v + (1 - self.momentum) * g
            theta, s.ahead = theta - self.lr * s.v, self.lr * self.momentum
        else:
            s.v = self.momentum * s.v + self.lr * g
            theta, s.ahead = theta - s.v, self.momentum
        return theta - s.ahead * s.v

    def to_eval(self, s, p):
        return p + s.ahead * s.v
