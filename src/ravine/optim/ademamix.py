"""AdEMAMix."""

import torch

from ravine.optimizer import Optimizer, Triple
from ravine.words import decayed, exp, log, minimum, sqrt, where, zeros


class AdEMAMix(Optimizer):
    """AdamW with a second, very slow momentum beside the first: old gradients still count after 10 000 steps.

        m₁ ← β₁ m₁ + (1 − β₁) g         m̂₁ = m₁ / (1 − β₁ᵗ)
        m₂ ← β₃ m₂ + (1 − β₃) g         (not corrected: it begins slowly, and should)
        v  ← β₂ v + (1 − β₂) g²         v̂ = v / (1 − β₂ᵗ)
        p  ← (1 − lr λ) p − lr (m̂₁ + α m₂) / (√v̂ + ε)

    with warm-ups, while t < T:

        α(t) = α t / T                                           T: alpha_warmup
        ln β₃(t) = 1 / [(1 − t/T) / ln β₁ + (t/T) / ln β₃]       T: beta3_warmup

    The second lets the half-life of m₂ grow linearly from that of m₁; as in the authors' code, 1e-8 is added to both
    betas in it, so that β₁ = 0 has a logarithm. Without warm-ups (None, their default) training can diverge early;
    the paper warms up both over all its steps. It has α = 5 to 8, the authors' code 2, which is the default here.

    Use it for long runs, above all of language models, with both warm-ups as long as the run: the longer, the more
    it gains over AdamW. In runs shorter than 1 / (1 − β₃) steps the second momentum has no time to help.

    Pagliardini, Ablin & Grangier 2025, Algorithm 1    https://arxiv.org/abs/2409.03137
    """

    papers = ("pagliardini2025ademamix",)

    lr: float | torch.Tensor = 1e-3
    betas: Triple = (0.9, 0.999, 0.9999)
    alpha: float = 2.0
    beta3_warmup: int | None = None
    alpha_warmup: int | None = None
    eps: float = 1e-8
    weight_decay: float = 0.0

    def init(self, s, p):
        s.m1, s.m2, s.v = zeros(p), zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2, b3 = self.betas
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        alpha = self.alpha * minimum(t / self.alpha_warmup, 1) if self.alpha_warmup else self.alpha
        if self.beta3_warmup:
            x = minimum(t / self.beta3_warmup, 1)
            b3 = where(t < self.beta3_warmup, exp(1 / ((1 - x) / log(b1 + 1e-8) + x / log(b3 + 1e-8))), b3)
        s.m1 = b1 * s.m1 + (1 - b1) * g
        s.m2 = b3 * s.m2 + (1 - b3) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        return p - self.lr * (s.m1 / (1 - b1**t) + alpha * s.m2) / (sqrt(s.v / (1 - b2**t)) + self.eps)
