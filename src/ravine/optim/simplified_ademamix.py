"""Simplified AdEMAMix."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, exp, log, minimum, number, sqrt, where, zeros


class SimplifiedAdEMAMix(Optimizer):
    """AdEMAMix with one momentum: a long sum of gradients, to which the newest is added once more.

        m ← β₁ m + g                    a sum, about 1 / (1 − β₁) gradients long
        v ← β₂ v + (1 − β₂) g²          v̂ = v / (1 − β₂ᵗ)
        p ← (1 − lr λ) p − lr (m + α g) / (√v̂ + ε)

    with a warm-up while t < T = beta1_warmup, that lets the half-life of m grow linearly from that of min_beta1:

        ln β₁(t) = 1 / [(1 − t/T) / ln β₀ + (t/T) / ln β₁]          β₀: min_beta1

    1e-8 is added to both betas in it, as in `AdEMAMix`. m is no average, so steps are 1 / (1 − β₁) times as long as
    Adam's at the same lr: begin with (1 − β₁) times Adam's lr. bias_correction1 divides m + α g by the number of
    gradients in m, n ← β₁ n + 1; Adam's lr fits then, and α = 0 without a warm-up is Adam. With the defaults m
    forgets more slowly than √v (0.99 against √0.95), so where gradients stop, steps grow until ε stops them.

    AdEMAMix has two averages, of which the fast one is hardly more than the newest gradient; α is how much that counts
    beside the slow one. The authors' code can leave out the correction of v as well, which this does not have; of
    libraries that have the method, pytorch-optimizer keeps an average for m.

    Use it in AdEMAMix's place where memory is short: the paper finds the same gain, and it keeps what Adam keeps.

    Morwani et al. 2025    https://arxiv.org/abs/2502.02431
    Names and defaults are those of the authors' code.
    """

    papers = ("morwani2025connections",)
    ranges = {"min_beta1": "[0, 1)"}

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.99, 0.95)
    alpha: float = 0.0
    beta1_warmup: int | None = None
    min_beta1: float = 0.9
    eps: float = 1e-8
    weight_decay: float = 0.0
    bias_correction1: bool = False

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)
        if self.bias_correction1:
            s.n = number(0.0)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        if self.beta1_warmup:
            x = minimum(t / self.beta1_warmup, 1)
            short, long = log(self.min_beta1 + 1e-8), log(b1 + 1e-8)
            b1 = where(t < self.beta1_warmup, exp(1 / ((1 - x) / short + x / long)), b1)
        s.m = b1 * s.m + g
        s.v = b2 * s.v + (1 - b2) * g**2
        u = (s.m + self.alpha * g) / (sqrt(s.v / (1 - b2**t)) + self.eps)
        if self.bias_correction1:
            s.n = b1 * s.n + 1
            u = u / s.n
        return p - self.lr * u
