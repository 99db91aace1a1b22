"""Adan."""

import torch

from ravine.optimizer import Optimizer, Triple
from ravine.words import sqrt, where, zeros


class Adan(Optimizer):
    """Nesterov's look-ahead without looking ahead: momentum of g, and of how much g has changed.

        d = g − g₋₁                                   (0 at the first step; g₋₁ ← g after it)
        m ← β₁ m + (1 − β₁) g                         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) d                         v̂ = v / (1 − β₂ᵗ)
        n ← β₃ n + (1 − β₃) (g + β₂ d)²               n̂ = n / (1 − β₃ᵗ)
        p ← [p − lr (m̂ + β₂ v̂) / (√n̂ + ε)] / (1 + lr λ)

    The paper's βs are 1 less these, its authors' code has them so. The division by 1 + lr λ is the proximal step
    of the paper; no_prox=True takes lr λ p off the weights before the step, as AdamW. The corrections are the
    code's, the paper has none; its restarts are left out, as in the code. A clip of the global norm, which the
    code has built in, is a modifier here and not part of the rule: it must come before g₋₁ is kept. adan-pytorch
    makes its first step with m = n = 0 and corrects them as if they were not; here the first gradient counts.

    Use it for vision and language models in Adam's place with larger rates (the authors use 5 to 10 times Adam's)
    and a weight decay near 0.02, if memory for four states instead of two is there.

    Xie et al. 2024, Algorithm 1    https://arxiv.org/abs/2208.06677
    """

    papers = ("xie2024adan",)

    lr: float | torch.Tensor = 1e-3
    betas: Triple = (0.98, 0.92, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.0
    no_prox: bool = False

    def init(self, s, p):
        s.m, s.v, s.n, s.before = zeros(p), zeros(p), zeros(p, positive=True), zeros(p)

    def update(self, s, p, g, t):
        b1, b2, b3 = self.betas
        d = where(t > 1, g - s.before, 0)
        s.before = g
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * d
        s.n = b3 * s.n + (1 - b3) * (g + b2 * d) ** 2
        m, v, n = s.m / (1 - b1**t), s.v / (1 - b2**t), s.n / (1 - b3**t)
        step = self.lr * (m + b2 * v) / (sqrt(n) + self.eps)
        if not self.weight_decay:
            return p - step
        decay = self.lr * self.weight_decay
        return (1 - decay) * p - step if self.no_prox else (p - step) / (1 + decay)
