"""NAdam."""

from dataclasses import KW_ONLY
from typing import Literal

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, number, root, zeros


class NAdam(Optimizer):
    """Adam with Nesterov's look-ahead: the next step's momentum is applied now.

        μₜ = β₁ (1 − ½ · 0.96^(ψ t))        ψ: momentum_decay
        m ← β₁ m + (1 − β₁) g               v ← β₂ v + (1 − β₂) g²
        m̂ = μₜ₊₁ m / (1 − Πᵢ₌₁ᵗ⁺¹ μᵢ) + (1 − μₜ) g / (1 − Πᵢ₌₁ᵗ μᵢ)
        p ← p − lr m̂ / (√(v / (1 − β₂ᵗ)) + ε)

    constant_beta sets μₜ = β₁ for all t. form="overview" is that of Ruder's overview and of what follows it, with a
    constant momentum and one correction for both terms: m̂ = (β₁ m + (1 − β₁) g) / (1 − β₁ᵗ). bias_correction=False
    leaves out the denominators. decoupled_weight_decay takes lr λ p off the weights instead of adding λp to g.

    Use it in Adam's place for what is sometimes a slightly faster start, at no more cost: recurrent networks were
    its first example. Its warm-up of the momentum makes lr 2e-3 the default where Adam has 1e-3.

    Dozat 2016, Algorithm 2     https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
    Ruder 2016, section 4.8     https://arxiv.org/abs/1609.04747
    """

    papers = ("dozat2016nadam", "kingma2015adam")
    twin = torch.optim.NAdam
    names = {"m": "exp_avg", "v": "exp_avg_sq"}

    lr: float | torch.Tensor = 2e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False
    _: KW_ONLY
    constant_beta: bool = False
    eps_inside: bool = False
    bias_correction: bool = True
    form: Literal["dozat", "overview"] = "dozat"

    def init(self, s, p):
        s.m, s.v, s.mu_product = zeros(p), zeros(p, positive=True), number(1.0)

    def mu(self, t):
        return self.betas[0] * (
            1 if self.constant_beta or self.form == "overview" else 1 - 0.5 * 0.96 ** (t * self.momentum_decay)
        )

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        mu, mu_next = self.mu(t), self.mu(t + 1)
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        s.mu_product = s.mu_product * mu
        now, ahead, c2 = 1 - s.mu_product, 1 - s.mu_product * mu_next, 1 - b2**t
        if self.form == "overview":
            ahead = now
        if not self.bias_correction:
            now = ahead = c2 = 1
        return p - self.lr * (mu_next / ahead * s.m + (1 - mu) / now * g) / root(s.v / c2, self.eps, self.eps_inside)
