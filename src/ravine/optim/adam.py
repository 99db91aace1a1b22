"""Adam and its decoupled-decay twin."""

from dataclasses import KW_ONLY
from typing import ClassVar

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, maximum, root, zeros


class Adam(Optimizer):
    """A step size for every weight, from running averages of g and g².

        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²        v̂ = v / (1 − β₂ᵗ)
        p ← p − lr m̂ / (√v̂ + ε)

    weight_decay adds λp to g (decoupled_weight_decay: takes lr λ p off the weights instead, as AdamW).
    amsgrad divides by the largest v seen so far, corrected, as torch does; `AMSGrad` is that paper's form.
    eps_inside puts ε under the root: √(v̂ + ε). bias_correction=False uses m and v as they are.
    With a sparse gradient only its rows move, are decayed and change m and v; t counts the steps of the whole table.

    Use it where nothing else is known to be better: its step is about lr whatever the gradient's scale, so one rate
    serves many networks. With weight decay take AdamW. Where SGD is tuned well, as for convolutions, it may win.

    Kingma & Ba 2015, Algorithm 1    https://arxiv.org/abs/1412.6980
    """

    papers = ("kingma2015adam",)
    twin = torch.optim.Adam
    names = {"m": "exp_avg", "v": "exp_avg_sq", "vmax": "max_exp_avg_sq"}
    sparse = True

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    _: KW_ONLY
    decoupled_weight_decay: bool = False
    eps_inside: bool = False
    bias_correction: bool = True

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)
        if self.amsgrad:
            s.vmax = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        s.m = b1 * s.m + (1 - b1) * g
        s.v = v = b2 * s.v + (1 - b2) * g**2
        if self.amsgrad:
            s.vmax = v = maximum(s.vmax, v)
        c1, c2 = (1 - b1**t, 1 - b2**t) if self.bias_correction else (1, 1)
        return p - self.lr * (s.m / c1) / root(v / c2, self.eps, self.eps_inside)


class AdamW(Adam):
    """Adam that shrinks the weights themselves instead of adding λp to g.

        p ← (1 − lr λ) p − lr m̂ / (√v̂ + ε)

    As in torch the decay is lr λ; in the paper it is η λ with η the schedule's multiplier alone, so a paper's
    λ is this one's divided by the peak learning rate.

    Use it for transformers, and first for anything new: most published recipes are for it, with λ of 0.01 to 0.1.

    Loshchilov & Hutter 2019, Algorithm 2    https://arxiv.org/abs/1711.05101
    """

    papers = ("loshchilov2019adamw", "kingma2015adam")
    twin = torch.optim.AdamW

    weight_decay: float = 1e-2
    decoupled_weight_decay: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleVariableOverride]  # no argument here
