"""ADOPT."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, maximum, minimum, sqrt, where, zeros


class ADOPT(Optimizer):
    """Adam that divides g by the v of the step before, so that the two do not depend on each other; then momentum.

        v = g²                                             at the first step, which moves nothing; then
        c = clip(g / max(√v, ε), ±(t − 1)^clip_exponent)
        m ← β₁ m + (1 − β₁) c
        p ← p − lr m
        v ← β₂ v + (1 − β₂) g²

    No bias is corrected. The clip is that of the paper's second version, t^0.25 with its t counted from 0;
    clip=False is the first version, which may take very long steps where a gradient was nearly 0 at first. timm's
    exponent is 1/3; its t and others' begin at 1, so that they clip less. weight_decay adds λp to g (to the first,
    too), decouple=True takes lr λ p off the weights from the second step on. An average that took the new g² before
    the division, or the momentum of gradients not divided, would be another method: several libraries had those.

    Use it in Adam's place where β₂ cannot be tuned: the paper proves that it converges with any. Its steps are as
    long as Adam's, so a rate of Adam serves.

    Taniguchi et al. 2024, Algorithm 2    https://arxiv.org/abs/2411.02853
    """

    papers = ("taniguchi2024adopt",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.9999)
    eps: float = 1e-6
    weight_decay: float = 0.0
    decouple: bool = False
    clip: bool = True
    clip_exponent: float = 0.25

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        decayed_p, g = decayed(p, g, self.lr, self.weight_decay, self.decouple)
        c = g / maximum(sqrt(s.v), self.eps)
        if self.clip:
            bound = (t - 1) ** self.clip_exponent
            c = minimum(maximum(c, -bound), bound)
        s.m = where(t > 1, b1 * s.m + (1 - b1) * c, s.m)
        s.v = where(t > 1, b2 * s.v + (1 - b2) * g**2, g**2)
        return where(t > 1, decayed_p - self.lr * s.m, p)
