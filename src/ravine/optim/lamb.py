"""LAMB."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import norm, root, where, zeros


class LAMB(Optimizer):
    """Adam whose step in each tensor is as long as the tensor itself: for very large batches.

        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²        v̂ = v / (1 − β₂ᵗ)
        u = m̂ / (√v̂ + ε) + λ p
        p ← p − lr (‖p‖ / ‖u‖) u      (ratio 1 where either norm is 0)

    The paper's φ is the identity here. eps_inside puts ε under the root; bias_correction=False uses m and v
    as they are.

    You et al. 2020, Algorithm 2    https://arxiv.org/abs/1904.00962
    """

    lr: float | torch.Tensor = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.0
    eps_inside: bool = False
    bias_correction: bool = True

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        c1, c2 = (1 - b1**t, 1 - b2**t) if self.bias_correction else (1, 1)
        u = (s.m / c1) / root(s.v / c2, self.eps, self.eps_inside)
        if self.weight_decay:
            u = u + self.weight_decay * p
        ratio = where(norm(p) * norm(u) > 0, norm(p) / norm(u), 1)
        return p - self.lr * ratio * u
