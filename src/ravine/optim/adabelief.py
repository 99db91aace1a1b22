"""AdaBelief."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, maximum, sqrt, where, zeros


class AdaBelief(Optimizer):
    """Adam that divides by how far g is from its average: long steps where g is as expected, short ones where not.

        m ← β₁ m + (1 − β₁) g                  m̂ = m / (1 − β₁ᵗ)
        s ← β₂ s + (1 − β₂) (g − m)² + ε       ŝ = s / (1 − β₂ᵗ)
        p ← p − lr m̂ / (√ŝ + ε)

    or with rectify, as RAdam:

        ρ∞ = 2 / (1 − β₂) − 1                  ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        r  = √[ (ρ−4)(ρ−2) ρ∞ / ((ρ∞−4)(ρ∞−2) ρ) ]
        p ← p − lr m̂ r √(1 − β₂ᵗ) / (√s + ε)   if ρ ≥ 5,    else   p − lr m̂

    ε is added to s at every step and to its root, as in the paper. rectify, decoupled decay (weight_decouple) and
    ε = 1e-16 are the defaults of the authors' release 0.2; the paper has neither of the first two, and 1e-8.
    Without degenerated_to_sgd nothing but the decay happens while ρ < 5. amsgrad divides by the largest s so far;
    the authors' release 0.0.5 adds ε to that maximum again at every step, which never fades, and 0.2 reads s and
    not the maximum when it rectifies. Here ε enters s alone, and the maximum is taken in both.

    Use it where Adam is used and trains a little unsteadily, as in GANs; the authors advise ε = 1e-16 for
    transformers and GANs, and 1e-8 where SGD is usually better, as for convolutional networks.

    Zhuang et al. 2020, Algorithm 2    https://arxiv.org/abs/2010.07468
    """

    papers = ("zhuang2020adabelief", "liu2020radam")

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-16
    weight_decay: float = 0.0
    amsgrad: bool = False
    weight_decouple: bool = True
    rectify: bool = True
    degenerated_to_sgd: bool = True

    def init(self, s, p):
        s.m, s.s = zeros(p), zeros(p, positive=True)
        if self.amsgrad:
            s.smax = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, g = decayed(p, g, self.lr, self.weight_decay, self.weight_decouple)
        s.m = b1 * s.m + (1 - b1) * g
        s.s = belief = b2 * s.s + (1 - b2) * (g - s.m) ** 2 + self.eps
        if self.amsgrad:
            s.smax = belief = maximum(s.smax, belief)
        m, c2 = s.m / (1 - b1**t), 1 - b2**t
        if not self.rectify:
            return p - self.lr * m / (sqrt(belief / c2) + self.eps)
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        adaptive = m * (r * sqrt(c2)) / (sqrt(belief) + self.eps)
        return p - self.lr * where(rho >= 5, adaptive, m if self.degenerated_to_sgd else 0)
