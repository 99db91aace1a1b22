"""LAMB."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import minimum, norm, root, where, zeros


class LAMB(Optimizer):
    """Adam whose step in each tensor is as long as the tensor itself: for very large batches.

        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²        v̂ = v / (1 − β₂ᵗ)
        u = m̂ / (√v̂ + ε) + λ p
        p ← p − lr (‖p‖ / ‖u‖) u      (ratio 1 where either norm is 0)

    The paper's φ is the identity here. trust_clip lets the ratio be 1 at most (LAMBC). always_adapt=False takes the
    ratio 1 where λ = 0, as apex's FusedLAMB and timm do unless told otherwise: so a group without decay, of biases for
    instance, moves as Adam does. Both also divide all gradients by max(1, their common norm) first, which is
    `torch.nn.utils.clip_grad_norm_` here. eps_inside puts ε under the root; bias_correction=False uses m and v as they
    are, as pytorch-lamb does; it also clips ‖p‖ at 10.

    Use it where batches of many thousands make AdamW diverge at the rate they need, with a warm-up of lr; with
    ordinary batches AdamW is as good and cheaper.

    You et al. 2020, Algorithm 2    https://arxiv.org/abs/1904.00962
    """

    papers = ("you2020lamb",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.0
    eps_inside: bool = False
    bias_correction: bool = True
    trust_clip: bool = False
    always_adapt: bool = True

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
        elif not self.always_adapt:
            return p - self.lr * u
        ratio = where(minimum(norm(p), norm(u)) > 0, norm(p) / norm(u), 1)
        return p - self.lr * (minimum(ratio, 1) if self.trust_clip else ratio) * u
