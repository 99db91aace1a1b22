"""MADGRAD."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import cbrt, lerp, sqrt, where, zeros


class MADGRAD(Optimizer):
    """Every weight is its beginning less a sum of all gradients, over the cube root of the sum of their squares.

        s ← s + lr √t g
        ν ← ν + lr √t g²
        z = x₀ − s / (∛ν + ε)              (x₀ where the denominator is 0)
        p ← μ p + (1 − μ) z

    weight_decay adds λp to g; decouple_decay takes lr λ p off the new weights instead. x₀ is a state, as in the
    authors' code: found again from p it would gather the rounding of every step, and the average hides it. Only
    without momentum is it p + s / (∛ν + ε), which costs no memory; the decoupled decay then moves it, as there.
    The authors' code adds ε to lr, which here is lr itself.

    Use it on problems that train well with Adam but generalize badly, and with sparse gradients. Its rate has to be
    found anew, and weight decay must be less than elsewhere, often 0, since nothing of the sums is ever forgotten.

    Defazio & Jelassi 2022, Algorithm 1    https://arxiv.org/abs/2101.11075
    """

    papers = ("defazio2022madgrad",)
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 1e-2
    momentum: float = 0.9
    weight_decay: float = 0.0
    eps: float = 1e-6
    decouple_decay: bool = False

    def init(self, s, p):
        s.s, s.nu = zeros(p), zeros(p, positive=True)
        if self.momentum:
            s.x0 = p

    def below(self, s, x):
        d = cbrt(s.nu) + self.eps
        return where(d <= 0, 0, x / d)

    def update(self, s, p, g, t):
        if self.weight_decay and not self.decouple_decay:
            g = g + self.weight_decay * p
        x0 = s.x0 if self.momentum else p + self.below(s, s.s)
        s.s = s.s + self.lr * sqrt(t) * g
        s.nu = s.nu + self.lr * sqrt(t) * g**2
        new = lerp(x0 - self.below(s, s.s), p, self.momentum)
        if self.momentum:
            s.x0 = x0
        return new - self.lr * self.weight_decay * p if self.weight_decay and self.decouple_decay else new
