"""SGD and Adam with D-Adaptation."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import abs, decayed, every, maximum, minimum, shared, sqrt, total, where, zeros


class DAdaptSGD(Optimizer):
    """SGD that finds its own step size: d, at most twice the distance to the solution if the problem is convex.

        w ← d lr / ‖g₀‖                 g₀: the gradient of the first step (that was not 0), without decay
        r ← r + w ⟨g, s⟩                over all tensors
        s ← s + w g
        d ← max(d, min(2 r / ‖s‖, growth_rate · d))
        p ← μ p + (1 − μ) (x₀ − s)

    One d, r and ‖g₀‖ serve all tensors of all groups, so give growth_rate the same value in all of them; with another
    lr a tensor counts in r and s as its own lr says, where the authors' code allows one lr, or 0. That code divides
    by 0 where the first gradient is 0. weight_decay adds λp to g.

    Use it on problems that SGD trains well, with lr = 1 and the schedule that SGD would have, when its rate is not to
    be looked for. Where d grows too far, a growth_rate of 1.02 makes it warm up.

    Defazio & Mishchenko 2023, Algorithm 4    https://arxiv.org/abs/2301.07733
    """

    papers = ("defazio2023dadaptation",)
    ranges = {"momentum": "[0, 1)", "d0": "(0, inf)", "growth_rate": "[1, inf]"}

    lr: float | torch.Tensor = 1.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    d0: float = 1e-6
    growth_rate: float = float("inf")

    def init(self, s, p):
        s.x0, s.s = p, zeros(p)
        s.g0, s.r, s.d = shared(0.0), shared(0.0), shared(self.d0)

    def update(self, s, p, g, t):
        s.g0 = where(s.g0 <= 0, sqrt(every(total(g**2))), s.g0)
        w = where(s.g0 <= 0, 0, s.d * self.lr / s.g0)
        _, g = decayed(p, g, self.lr, self.weight_decay, False)
        s.r = s.r + every(total(w * g * s.s))
        s.s, s.x0 = s.s + w * g, s.x0
        below = sqrt(every(total(s.s**2)))
        s.d = maximum(s.d, minimum(where(below <= 0, 0, 2 * s.r / below), self.growth_rate * s.d))
        return self.momentum * p + (1 - self.momentum) * (s.x0 - s.s)


class DAdaptAdam(Optimizer):
    """Adam that finds its own step size: d, a lower bound of the distance from the start to the solution.

        w ← d lr                        (times √(1 − β₂ᵗ) / (1 − β₁ᵗ), with use_bias_correction)
        r ← √β₂ r + (1 − √β₂) w ⟨g, s / (√v + ε)⟩                  over all tensors
        m ← β₁ m + (1 − β₁) w g
        v ← β₂ v + (1 − β₂) g²
        s ← √β₂ s + (1 − √β₂) w g
        d ← max(d, min(r / ((1 − √β₂) ‖s‖₁), growth_rate · d))     over all tensors
        p ← p − m / (√v + ε)

    v in r is that of the step before, as in the authors' code; the paper has the new one. One d and r serve all
    tensors of all groups, so give betas and growth_rate the same values in all of them; with another lr a tensor counts
    in r and s as its own lr says, where that code allows one lr, or 0. layer_scale multiplies the steps of a group,
    and what it counts for in r and ‖s‖₁. weight_decay adds λp to g; decouple=True takes w λ p off the weights.
    Bias correction counts the steps of each tensor; the paper has none.

    Use it to train without looking for Adam's rate, with lr = 1 and Adam's schedule; `Prodigy`, by the same authors,
    finds d sooner. Where d grows too far, a growth_rate of 1.02 makes it warm up.

    Defazio & Mishchenko 2023, Algorithm 5    https://arxiv.org/abs/2301.07733
    """

    papers = ("defazio2023dadaptation", "kingma2015adam")
    ranges = {"d0": "(0, inf)", "eps": "(0, inf)", "growth_rate": "[1, inf]"}

    lr: float | torch.Tensor = 1.0
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decouple: bool = False
    use_bias_correction: bool = False
    layer_scale: float = 1.0
    d0: float = 1e-6
    growth_rate: float = float("inf")

    def init(self, s, p):
        s.s, s.m, s.v = zeros(p), zeros(p), zeros(p, positive=True)
        s.r, s.d = shared(0.0), shared(self.d0)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        b3 = sqrt(b2)
        w = s.d * self.lr * (sqrt(1 - b2**t) / (1 - b1**t) if self.use_bias_correction else 1)
        decayed_p, g = decayed(p, g, w, self.weight_decay, self.decouple)
        s.r = b3 * s.r + (1 - b3) * every(total(self.layer_scale * w * g * s.s / (sqrt(s.v) + self.eps)))
        s.m = b1 * s.m + (1 - b1) * self.layer_scale * w * g
        s.v = b2 * s.v + (1 - b2) * g**2
        s.s = b3 * s.s + (1 - b3) * w * g
        below = (1 - b3) * every(total(self.layer_scale * abs(s.s)))
        s.d = maximum(s.d, minimum(where(below <= 0, 0, s.r / below), self.growth_rate * s.d))
        return decayed_p - s.m / (sqrt(s.v) + self.eps)
