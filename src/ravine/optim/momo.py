"""MoMo and MoMo-Adam."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import every, lerp, maximum, minimum, shared, sqrt, total, where, zeros


class MoMo(Optimizer):
    """Momentum whose step is as long as the loss can still fall: lr is only its upper bound.

        f̄ ← β f̄ + (1 − β) loss          m ← β m + (1 − β) g          γ ← β γ + (1 − β) ⟨g, p⟩
        h = f̄ + ⟨m, p⟩ − γ              what the averaged gradients say the loss is at p
        τ = min(lr / ρ, max(0, (1 + lr λ)(f̄ − ρ lb − γ) + ⟨m, p⟩) / ‖m‖²)
        p ← (p − τ m) / (1 + lr λ)

    Sums are over all tensors. f̄, m and γ begin as the first loss, gradient and product, and ρ = 1; with
    bias_correction they begin at 0, and ρ = 1 − βᵗ. lb is a lower bound of the loss: 0 for most. use_fstar estimates
    it instead, from lb upwards:

        lb ← max(lb₀, half of what makes τ 0)                    before τ, if τ would be 0
        lb ← max(lb₀, (h − ½ τ ‖m‖²) / ρ)                        after τ

    It needs the loss: `step(loss=loss)`, or `step(closure)`; with maximize=True lb bounds its negative. β, lb and, with
    use_fstar, lr and λ must be the same in all groups: f̄ and lb are common to all tensors. A tensor that gets its
    first gradient later begins with m = 0; one that has none for a step keeps its m, while f̄ and γ go on. The
    authors' code estimates lb once more for every group.

    Use it where the rate of SGD with momentum is hard to find and the loss is nearly 0 at the end: any lr that is
    large enough serves, and no schedule is needed. With decaying schedules or a loss far from lb it is plain momentum.

    Schaipp et al. 2024, Algorithm 1    https://arxiv.org/abs/2305.07583
    """

    papers = ("schaipp2024momo",)
    ranges = {"beta": "[0, 1)", "lb": "(-inf, inf)"}

    lr: float | torch.Tensor = 1.0
    weight_decay: float = 0.0
    beta: float = 0.9
    lb: float = 0.0
    bias_correction: bool = False
    use_fstar: bool = False

    def init(self, s, p):
        s.m = zeros(p)
        s.f, s.gamma, s.k = shared(0.0), shared(0.0), shared(0.0)
        if self.use_fstar:
            s.lb = shared(self.lb)

    def update(self, s, p, g, t, loss):
        average(self, s, p, g, loss, 1 - self.beta if self.bias_correction else where(s.k > 0, 1 - self.beta, 1))
        tau = step_size(self, s, p, s.m, 1 - self.beta**s.k if self.bias_correction else 1)
        return (p - tau * s.m) / (1 + self.lr * self.weight_decay)


class MoMoAdam(Optimizer):
    """Adam whose step is as long as the loss can still fall: lr is only its upper bound.

        f̄ ← β₁ f̄ + (1 − β₁) loss       m ← β₁ m + (1 − β₁) g        γ ← β₁ γ + (1 − β₁) ⟨g, p⟩
        v ← β₂ v + (1 − β₂) g²          D = √(v / (1 − β₂ᵗ)) + ε     ρ = 1 − β₁ᵗ
        τ = min(lr / ρ, max(0, (1 + lr λ)(f̄ − ρ lb − γ) + ⟨m, p⟩) / ⟨m, m / D⟩)
        p ← (p − τ m / D) / (1 + lr λ)

    All as in MoMo, with D for a metric. divide=False shrinks p by 1 − lr λ before the step, as AdamW does.

    Use it in Adam's place where the rate is hard to find and the loss is nearly 0 at the end.

    Schaipp et al. 2024, Algorithm 2    https://arxiv.org/abs/2305.07583
    """

    papers = ("schaipp2024momo", "kingma2015adam")
    ranges = {"lb": "(-inf, inf)", "eps": "(0, inf)"}

    lr: float | torch.Tensor = 1e-2
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    lb: float = 0.0
    divide: bool = True
    use_fstar: bool = False

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)
        s.f, s.gamma, s.k = shared(0.0), shared(0.0), shared(0.0)
        if self.use_fstar:
            s.lb = shared(self.lb)

    def update(self, s, p, g, t, loss):
        b1, b2 = self.betas
        average(self, s, p, g, loss, 1 - b1)
        s.v = b2 * s.v + (1 - b2) * g**2
        u = s.m / (sqrt(s.v / (1 - b2**t)) + self.eps)
        tau = step_size(self, s, p, u, 1 - b1**s.k)
        decay = self.lr * self.weight_decay
        return (p - tau * u) / (1 + decay) if self.divide else (1 - decay) * p - tau * u


def average(self, s, p, g, loss, w):
    """The loss, the gradient and their product with p, each averaged with weight w for the new one."""
    s.k = s.k + 1
    s.f = lerp(s.f, -loss if self.maximize else loss, w)
    s.m = lerp(s.m, g, w)
    s.gamma = lerp(s.gamma, every(total(p * g)), w)


def step_size(self, s, p, u, rho):
    """τ, for a step along u: m in the metric of the method."""
    far, length = every(total(s.m * p)), every(total(s.m * u))
    k, bound, lb = 1 + self.lr * self.weight_decay, self.lr / rho, self.lb
    cap = k * (s.f - s.gamma) + far
    if self.use_fstar:
        lb = where(cap < k * rho * s.lb, maximum(cap / (2 * k * rho), self.lb), s.lb)
    tau = where(length <= 0, bound, minimum(bound, maximum(cap - k * rho * lb, 0) / length))
    if self.use_fstar:
        s.lb = maximum((s.f + far - s.gamma - tau * length / 2) / rho, self.lb)
    return tau
