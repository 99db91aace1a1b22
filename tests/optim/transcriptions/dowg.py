"""DoWG: the distance over the weighted gradients."""

import math

from .draw import RATE, log, uniform
from .whole import flat, unflat


class DoWGPaper:
    """Khaled, Mishchenko & Jin 2023, Algorithm 1    https://arxiv.org/abs/2305.16284

        r̄_t = max(‖x_t − x_0‖, r̄_{t−1})             r̄_{−1} = r_ε
        v_t = v_{t−1} + r̄_t² ‖∇f(x_t)‖²             v_{−1} = 0
        η_t = r̄_t² / √v_t
        x_{t+1} = x_t − η_t ∇f(x_t)

    on all parameters as one vector. As in the authors' code ε stands beside √v_t. η is multiplied by lr.
    """

    whole = True

    def __init__(self, points, lr=1.0, r_eps=1e-2, eps=1e-4):
        self.shapes = [p.shape for p in points]
        self.x = flat(points)
        self.x0 = self.x.clone()
        self.lr, self.r, self.eps, self.v = lr, r_eps, eps, 0.0

    def step(self, grads):
        g = flat(grads)
        self.r = max((self.x - self.x0).norm().item(), self.r)
        self.v = self.v + self.r**2 * g.square().sum().item()
        self.x = self.x - self.lr * self.r**2 / (math.sqrt(self.v) + self.eps) * g
        return unflat(self.x, self.shapes)


SPACES = {"DoWG": {"lr": uniform(0.5, 2.0), "r_eps": RATE, "eps": log(1e-3, 1e-1)}}
EDGES = {"DoWG": [{"eps": 0.0}, {"lr": 0.0}]}
