"""NovoGrad."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import maximum, scalar, sqrt, total, where, zeros


class NovoGrad(Optimizer):
    """Momentum over gradients that are made as long as 1, tensor by tensor, with a decay beside them.

        v ← β₂ v + (1 − β₂) ‖g‖²          (v = ‖g‖² at the first gradient that is not zero)
        m ← β₁ m + g / (√v + ε) + λ p
        p ← p − lr m

    v is one number for each tensor, so the state is half of Adam's. What is added to the sum m has no 1 − β₁ before it,
    so a step is up to 1 / (1 − β₁) times lr long; grad_averaging puts it there. amsgrad divides by the largest v so
    far. The paper begins v at ‖g₁‖² even if that is 0; here, as in NVIDIA's code, it then begins later. Default betas
    are those of the paper's experiments; NVIDIA's code has β₂ = 0, which takes each gradient's own length. Some
    libraries add a bias correction, which the paper's first step makes needless; with grad_averaging some take the
    first gradient whole.

    Use it for speech models and convolutions at large batches, where Adam's memory is too much; it was made for them.

    Ginsburg et al. 2019, Algorithm 1    https://arxiv.org/abs/1905.11286
    """

    papers = ("ginsburg2019novograd",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.95, 0.98)
    eps: float = 1e-8
    weight_decay: float = 0.0
    grad_averaging: bool = False
    amsgrad: bool = False

    def init(self, s, p):
        s.m, s.v = zeros(p), scalar(0.0)
        if self.amsgrad:
            s.vmax = scalar(0.0)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        square = total(g**2)
        s.v = v = where(s.v <= 0, square, b2 * s.v + (1 - b2) * square)
        if self.amsgrad:
            s.vmax = v = maximum(s.vmax, v)
        u = g / (sqrt(v) + self.eps)
        if self.weight_decay:
            u = u + self.weight_decay * p
        s.m = b1 * s.m + ((1 - b1) * u if self.grad_averaging else u)
        return p - self.lr * s.m
