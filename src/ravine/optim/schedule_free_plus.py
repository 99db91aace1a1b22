"""ScheduleFree+."""

import math
from typing import Literal

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import abs, every, exp, log, maximum, minimum, number, scalar, shared, sqrt, total, where, zeros


class ScheduleFreePlus(Optimizer):
    """Schedule-Free Adam whose step is as long as the loss can still fall: it has neither schedule nor rate to tune.

        y = β x + (1 − β) z                gradients are taken here: what the model holds while training
        e ← βₚ e + (1 − βₚ) √(π/2) Σ|g|    ê = e / (1 − βₚᵗ)
        γ = lr max(0, loss + β ⟨g, z − x⟩) / ê
        m ← β₁ m + (1 − β₁) g              m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²             v̂ = v / (1 − β₂ᵗ)
        z ← z − γ² λ y − γ m̂ / (√v̂ + ε)
        x ← (1 − c) x + c z                c = w / Σ w,  w = tʳ (largest γ so far)^weight_lr_power

    Sums are over all tensors. γ is Polyak's step, with 0 for the least loss that there is; √(π/2) Σ|g| stands for what
    a step of Adam gains along gradients that are normally distributed. β is sf_beta1; where sf_beta1_anneal_steps is
    set, 1 − β goes from there to 1 − sf_beta1_max in equal ratios over so many steps. In the first c_warmup steps
    c = 1, so x = z; they do not count in the average. βₚ is polyak_beta: 0 takes the newest Σ|g| alone.

    It needs the loss: `step(loss=loss)`, or `step(closure)`. Call `eval()` before validation and before the weights are
    saved, which puts x into the model, and `train()` before the next step, which puts y back. lr is a factor, 1 as a
    rule, which may be warmed up; the authors advise a c_warmup of once or twice that warm-up, and r = 2 for long runs.
    λ is multiplied with γ² (AdamC), so it is 20 or 50 where AdamW has 0.1. sf_beta1 and polyak_beta must be the same in
    all groups. The state is z − x, so three arrays are kept where the authors' reference keeps five. ê is at least ε
    here, so that gradients of nearly nothing make no infinite step.

    The loss is to be near 0 at the end, since γ is measured by its distance from 0: with a floor far above that (label
    smoothing, penalties) the steps are too long. Nothing bounds γ.

    Use it to train language models for long, or for a time that is not known, with a loss that is a mean over tokens.

    Defazio 2026    https://arxiv.org/abs/2605.19095
    Names and defaults are those of the authors' package, schedulefree.
    """

    papers = ("defazio2026schedulefreeplus", "defazio2024road", "defazio2025gradients")
    ranges = {"sf_beta1": "[0, 1)", "sf_beta1_max": "[0, 1)", "polyak_beta": "[0, 1)", "eps": "(0, inf)"}

    lr: float | torch.Tensor = 1.0
    betas: Pair = (0.9, 0.95)
    sf_beta1: float = 0.9
    eps: float = 1e-8
    weight_decay: float = 0.0
    r: float = 0.0
    polyak_beta: float = 0.0
    c_warmup: int = 0
    sf_beta1_anneal_steps: int = 0
    sf_beta1_max: float = 0.965
    weight_lr_power: Literal[0, 1, 2, 3] = 2

    def init(self, s, p):
        s.m, s.v, s.d, s.ahead = zeros(p), zeros(p, positive=True), zeros(p), number(0.0)
        s.e, s.k = shared(0.0), shared(0.0)
        s.largest, s.weights = scalar(0.0), scalar(0.0)

    def update(self, s, p, g, t, loss):
        b1, b2 = self.betas
        x, beta = self.to_eval(s, p), self.beta(t)
        s.k = s.k + 1
        s.e = self.polyak_beta * s.e + (1 - self.polyak_beta) * math.sqrt(math.pi / 2) * every(total(abs(g)))
        slope = maximum(s.e / (1 - self.polyak_beta**s.k), self.eps)
        left = (-loss if self.maximize else loss) + beta * every(total(g * s.d))
        rate = maximum(self.lr, self.eps) * maximum(0, left) / slope
        s.largest = maximum(s.largest, maximum(rate, self.eps))
        power = s.largest**self.weight_lr_power if self.weight_lr_power else 1
        weight = where(t > self.c_warmup, t**self.r * power, 0)
        before, s.weights = s.weights, s.weights + weight
        all = where(s.weights > 0, s.weights, 1)
        c = where(t > self.c_warmup, weight / all, 1)
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        u = s.m / (1 - b1**t) / (sqrt(s.v / (1 - b2**t)) + self.eps)
        if self.weight_decay:
            u = u + rate * self.weight_decay * p
        d = s.d - rate * u
        s.d, s.ahead = before / all * d, 1 - beta  # before / all is 1 − c, with its digits where c is near 1
        return x + c * d + s.ahead * s.d

    def beta(self, t):
        """The β of this step."""
        if not self.sf_beta1_anneal_steps:
            return self.sf_beta1
        done = minimum((t - 1) / self.sf_beta1_anneal_steps, 1)
        return 1 - exp(log(1 - self.sf_beta1) * (1 - done) + log(1 - self.sf_beta1_max) * done)

    def to_eval(self, s, p):
        return p - s.ahead * s.d
