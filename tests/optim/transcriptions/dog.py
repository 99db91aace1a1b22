"""DoG and L-DoG: the distance over the gradients for a step size."""

import math

from .draw import DECAY, RATE, uniform
from .whole import flat, unflat


class LDoGPaper:
    """Ivgi, Hinder & Carmon 2023, equation 1, for each tensor    https://arxiv.org/abs/2302.12022

        η_t = max_{i ≤ t} ‖x_i − x_0‖ / √(Σ_{i ≤ t} ‖g_i‖² + ε)
        x_{t+1} = x_t − η_t g_t

    with r_ε = reps_rel (1 + ‖x_0‖) for the distance in η_0, and among those the maximum is of; times lr. init_eta is
    η_0 itself, and then r_ε is 0. Weight decay is g + λx.
    """

    def __init__(self, p, lr=1.0, reps_rel=1e-6, init_eta=None, eps=1e-8, weight_decay=0.0):
        self.x, self.x0 = p.clone(), p.clone()
        self.lr, self.init_eta, self.lam = lr, init_eta, weight_decay
        self.farthest = reps_rel * (1 + p.norm().item()) if init_eta is None else 0.0
        self.sum = eps
        self.t = 0

    def step(self, g):
        g = g + self.lam * self.x
        self.farthest = max(self.farthest, (self.x - self.x0).norm().item())
        self.sum = self.sum + g.square().sum().item()
        eta = self.lr * self.farthest / math.sqrt(self.sum)
        if self.t == 0 and self.init_eta is not None:
            eta = self.init_eta
        self.x = self.x - eta * g
        self.t += 1
        return self.x


class DoGPaper:
    """The same for all tensors as one vector."""

    whole = True

    def __init__(self, points, lr=1.0, reps_rel=1e-6, init_eta=None, eps=1e-8, weight_decay=0.0):
        self.shapes = [p.shape for p in points]
        self.one = LDoGPaper(flat(points), lr, reps_rel, init_eta, eps, weight_decay)

    @property
    def lr(self):
        return self.one.lr

    @lr.setter
    def lr(self, lr):
        self.one.lr = lr

    def step(self, grads):
        return unflat(self.one.step(flat(grads)), self.shapes)


SPACE = {"lr": uniform(0.5, 2.0), "reps_rel": RATE, "eps": uniform(0.1, 1.0), "weight_decay": DECAY}
SPACES = {"DoG": SPACE | {"init_eta": [None, 0.01]}, "LDoG": SPACE | {"init_eta": [None, 0.01]}}
EDGES = {name: [{"init_eta": 1e-3, "lr": 1.5}, {"lr": 0.0}] for name in SPACES}
IDLE = {name: lambda change, hyper: change == {"reps_rel"} and hyper["init_eta"] is not None for name in SPACES}
