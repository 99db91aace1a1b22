"""DoWG."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import every, maximum, shared, sqrt, total, where


class DoWG(Optimizer):
    """DoG that weights each gradient by the distance gone when it was taken: early ones count less.

        r ← max(r, ‖p − x₀‖)            it begins as r_eps
        v ← v + r² ‖g‖²                 over all tensors, as ‖p − x₀‖ is
        p ← p − lr r² / (√v + ε) g

    The paper has no ε and no lr: both are the authors' code's or ours, which in its first step divides by ε alone
    in effect; it has one number for ε and r_eps², 1e-4, from which the defaults here are. With eps = 0 it is the
    paper's, and does not care how large the gradient is.

    Use it as `DoG`, of which it is a variant: it adapts to smooth problems too, with larger steps. Its first step is
    r_eps long, so take that below the change of weights that harms nothing.

    Khaled, Mishchenko & Jin 2023, Algorithm 1    https://arxiv.org/abs/2305.16284
    """

    papers = ("khaled2023dowg",)
    ranges = {"r_eps": "(0, inf)"}

    lr: float | torch.Tensor = 1.0
    r_eps: float = 1e-2
    eps: float = 1e-4

    def init(self, s, p):
        s.x0 = p
        s.r, s.v = shared(self.r_eps), shared(0.0)

    def update(self, s, p, g, t):
        s.r, s.x0 = maximum(s.r, sqrt(every(total((p - s.x0) ** 2)))), s.x0
        s.v = s.v + s.r**2 * every(total(g**2))
        return p - where(s.v <= 0, 0, self.lr * s.r**2 / (sqrt(s.v) + self.eps)) * g
