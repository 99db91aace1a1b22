"""Schedule-Free SGD, AdamW and RAdam."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import maximum, minimum, number, sqrt, where, zeros


class ScheduleFree(Optimizer):
    """What the three have in common: a weighted average of the iterates in the place of a schedule.

        y = (1 − β) z + β x                gradients are taken here: what the model holds while training
        z ← z − γ u                        a step along u, found at y
        c = w / Σ w                        w = tʳ (largest γ so far)^weight_lr_power
        x ← (1 − c) x + c z                the average: what the model holds after eval()

    The state is d = z − x, which begins at 0, so x = y − (1 − β) d and nothing is divided by β.
    """

    papers = ("defazio2024road",)

    r: float = 0.0
    weight_lr_power: float = 2.0

    def init(self, s, p):
        s.d, s.ahead = zeros(p), number(0.0)
        s.largest, s.weights = number(0.0), number(0.0)

    def walk(self, s, p, u, rate, t, beta):
        """The new y, after a step of length γ = rate along u."""
        x = self.to_eval(s, p)
        s.largest = maximum(s.largest, rate)
        weight = t**self.r * s.largest**self.weight_lr_power
        s.weights = s.weights + weight
        c = weight / where(s.weights > 0, s.weights, 1)
        d = s.d - rate * u
        s.d, s.ahead = (1 - c) * d, 1 - beta
        return x + c * d + s.ahead * s.d

    def to_eval(self, s, p):
        return p - s.ahead * s.d


class ScheduleFreeSGD(ScheduleFree):
    """SGD without a schedule: it steps at a constant rate, and the weights to use are an average of its path.

        y = (1 − β) z + β x                gradients are taken here: what the model holds while training
        z ← z − γ (g + λ y)                γ = lr min(1, t / warmup_steps)
        x ← (1 − c) x + c z                c = w / Σ w,  w = tʳ (largest γ so far)^weight_lr_power

    Call `eval()` before validation and before the weights are saved, which puts x into the model, and `train()`
    before the next step, which puts y back. β is `momentum`: 0 leaves the gradients at z, as
    averaged SGD, and 1 takes them at x. The state is z − x, and no view divides by β, as that of the authors' package
    does. weight_decay acts at y; the paper has it at y in its Algorithm 1. While lr is 0 the average stands still.

    Use it where you do not know beforehand how long you will train: it needs no schedule, only a rate, which is
    often 10 to 50 times that of SGD with one. Statistics of batch normalization must be gathered again at x.

    Defazio et al. 2024, equations 3 to 5    https://arxiv.org/abs/2405.15682
    Names and defaults are those of the authors' package, schedulefree.
    """

    ranges = {"momentum": "[0, 1]"}

    lr: float | torch.Tensor = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_steps: int = 0

    def update(self, s, p, g, t):
        rate = self.lr * (minimum(t / self.warmup_steps, 1) if self.warmup_steps else 1)
        if self.weight_decay:
            g = g + self.weight_decay * p
        return self.walk(s, p, g, rate, t, self.momentum)


class ScheduleFreeAdamW(ScheduleFree):
    """AdamW without a schedule: it steps at a constant rate, and the weights to use are an average of its path.

        v ← β₂ v + (1 − β₂) g²             v̂ = v / (1 − β₂ᵗ)
        y = (1 − β₁) z + β₁ x              gradients are taken here: what the model holds while training
        z ← z − γ (g / (√v̂ + ε) + λ y)     γ = lr min(1, t / warmup_steps)
        x ← (1 − c) x + c z                c = w / Σ w,  w = tʳ (largest γ so far)^weight_lr_power

    Call `eval()` before validation and before the weights are saved, which puts x into the model, and `train()`
    before the next step, which puts y back.

    correct_lr is the paper's Algorithm 1: √(1 − β₂ᵗ) is part of γ, and with it of the weights, the decay and ε, where
    the default, as the authors' package, corrects v alone. The paper's weights are γ², for which the package
    and this class take the largest γ so far: they differ where lr falls.

    Use it in the place of AdamW with a cosine schedule when the length of training is open, with a rate 1 to 10 times
    as large and some warm-up. Statistics of batch normalization must be gathered again at x.

    Defazio et al. 2024, Algorithm 1    https://arxiv.org/abs/2405.15682
    Names and defaults are those of the authors' package, schedulefree.
    """

    lr: float | torch.Tensor = 2.5e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup_steps: int = 0
    correct_lr: bool = False

    def init(self, s, p):
        super().init(s, p)
        s.v = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.v = b2 * s.v + (1 - b2) * g**2
        rate = self.lr * (minimum(t / self.warmup_steps, 1) if self.warmup_steps else 1)
        if self.correct_lr:
            rate, u = rate * sqrt(1 - b2**t), g / (sqrt(s.v) + self.eps)
        else:
            u = g / (sqrt(s.v / (1 - b2**t)) + self.eps)
        if self.weight_decay:
            u = u + self.weight_decay * p
        return self.walk(s, p, u, rate, t, b1)


class ScheduleFreeRAdam(ScheduleFree):
    """Schedule-Free AdamW whose warm-up is RAdam's: neither schedule nor warm-up is left to choose.

        v ← β₂ v + (1 − β₂) g²             v̂ = v / (1 − β₂ᵗ)
        ρ∞ = 2 / (1 − β₂) − 1              ρ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
        γ = lr √[ (ρ−4)(ρ−2) ρ∞ / ((ρ∞−4)(ρ∞−2) ρ) ]    where ρ > 4
        y = (1 − β₁) z + β₁ x              gradients are taken here: what the model holds while training
        z ← z − γ (g / (√v̂ + ε) + λ y)
        x ← (1 − c) x + c z                c = w / Σ w,  w = tʳ (largest γ so far)^weight_lr_power

    In the first steps, while ρ ≤ 4, only v is gathered: γ = 0. silent_sgd_phase=False steps along g + λ y there,
    with γ = lr, as RAdam does; these steps are as large as the gradient, and γ is never larger again, so
    all weights w are then those of a constant rate. Call `eval()` before validation and before saving,
    `train()` before the next step.

    Use it where ScheduleFreeAdamW would need its warm-up tuned.

    Defazio et al. 2024, Algorithm 1    https://arxiv.org/abs/2405.15682
    Liu et al. 2020, Algorithm 2    https://arxiv.org/abs/1908.03265
    Names and defaults are those of the package schedulefree.
    """

    papers = ("defazio2024road", "liu2020radam")

    lr: float | torch.Tensor = 2.5e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    silent_sgd_phase: bool = True

    def init(self, s, p):
        super().init(s, p)
        s.v = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.v = b2 * s.v + (1 - b2) * g**2
        rho_inf = 2 / (1 - b2) - 1
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        rectified = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
        rate = self.lr * sqrt(where(rho > 4, rectified, 0 if self.silent_sgd_phase else 1))
        u = g / where(rho > 4, sqrt(s.v / (1 - b2**t)) + self.eps, 1)
        if self.weight_decay:
            u = u + self.weight_decay * p
        return self.walk(s, p, u, rate, t, b1)
