"""LaProp."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import maximum, sqrt, zeros


class LaProp(Optimizer):
    """Momentum of gradients that were divided already: Adam with its two averages in the other order.

        v ← β₂ v + (1 − β₂) g²
        m ← β₁ m + (1 − β₁) g / (√(v / (1 − β₂ᵗ)) + ε)
        p ← (1 − lr λ) (p − lr m / (1 − β₁ᵗ))

    No step is longer than lr / √(1 − β₂), whatever β₁ is. amsgrad divides by the largest v so far, corrected. In
    the authors' code lr stands inside the average, so that past gradients keep the rate of their time (it is the
    same path while lr is constant), and the decay, after the step as here, is λ and not lr λ: theirs is this one's
    times lr. Its centered form is left out: v less the squared mean can fall below 0, where its root is NaN.

    Use it in Adam's place where β₂ must be small or gradients are noisy: with β₁ > √β₂ Adam can make very long
    steps, and LaProp cannot.

    Ziyin, Wang & Ueda 2020, Algorithm 1    https://arxiv.org/abs/2002.04839
    """

    papers = ("ziyin2020laprop",)

    lr: float | torch.Tensor = 4e-4
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-15
    weight_decay: float = 0.0
    amsgrad: bool = False

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)
        if self.amsgrad:
            s.vmax = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.v = v = b2 * s.v + (1 - b2) * g**2
        if self.amsgrad:
            s.vmax = v = maximum(s.vmax, v)
        s.m = b1 * s.m + (1 - b1) * g / (sqrt(v / (1 - b2**t)) + self.eps)
        p = p - self.lr * s.m / (1 - b1**t)
        return (1 - self.lr * self.weight_decay) * p if self.weight_decay else p
