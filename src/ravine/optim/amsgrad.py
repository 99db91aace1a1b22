"""AMSGrad."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import maximum, root, zeros


class AMSGrad(Optimizer):
    """Adam that divides by the largest v so far, so that its step size never grows again.

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²        v̂ ← max(v̂, v)
        p ← p − lr m / (√v̂ + ε)

    The paper's form: no bias correction, and ε is ours (the paper has none; set eps=0 for it).
    `Adam(amsgrad=True)` is torch's, which corrects m and v̂.

    Use it where Adam fails to settle because rare large gradients are forgotten, or where a proof of convergence is
    wanted. Elsewhere it is seldom better than Adam, and it has a state more.

    Reddi, Kale & Kumar 2018, Algorithm 2    https://openreview.net/forum?id=ryQu7f-RZ
    """

    papers = ("reddi2018amsgrad", "kingma2015adam")

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    eps_inside: bool = False

    def init(self, s, p):
        s.m, s.v, s.vmax = zeros(p), zeros(p, positive=True), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        if self.weight_decay:
            g = g + self.weight_decay * p
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        s.vmax = maximum(s.vmax, s.v)
        return p - self.lr * s.m / root(s.vmax, self.eps, self.eps_inside)
