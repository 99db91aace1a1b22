"""Prodigy."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import abs, decayed, every, maximum, minimum, shared, sqrt, total, where, zeros


class Prodigy(Optimizer):
    """Adam that finds its own step size: d, which grows towards the distance from the start to the solution.

        c ← lr √(1 − β₂ᵗ) / (1 − β₁ᵗ)                   (lr, without use_bias_correction)
        w ← d² / d₀ · c                                 (d² / d₀ in s, with safeguard_warmup)
        r ← β₃ r + w ⟨g, x₀ − p⟩                        over all tensors; β₃ = √β₂ unless given
        s ← β₃ s + w g
        d̂ = d_coef r / ‖s‖₁                             over all tensors; 0 where s = 0
        m ← β₁ m + (1 − β₁) d g
        v ← β₂ v + (1 − β₂) d² g²
        d⁺ = min(max(dmax, d̂), growth_rate · d)         (at the start, while d = d₀: growth_rate · max(d, d̂))
        p ← p − d c m / (√v + d⁺ ε)                     then d ← d⁺

    dmax is the largest d̂ so far. This is the authors' code; the paper's Algorithm 4 has no d₀ in w (it divides out),
    and ε d where here is ε d⁺. One d, r and dmax serve all tensors of all groups, so give betas, beta3, d_coef and
    growth_rate the same values in all of them. lr may differ: a tensor counts in r and s as its own lr says; the
    authors' code allows only one lr, or 0. With β₁ = 0 that code steps by the new d, here by d as with any β₁.
    weight_decay takes d c λ p off the weights; decouple=False adds λp to g.

    Bias correction counts the steps of each tensor, each once: ports that count twice correct by t = 1, 3, 5 …, and the
    authors' code counts the steps of the first group for all. m, v and s are of the order of d g, d² g² and d² g: with
    weights in fp16 they need storage="float32".

    Use it to train without looking for a learning rate: leave lr = 1, with a cosine schedule, and tune d_coef if
    anything. For diffusion models and transformers set use_bias_correction, safeguard_warmup and weight_decay = 0.01.
    Gradients that are clipped or switched off early can let d run away or stay at d₀.

    Mishchenko & Defazio 2024, Algorithm 4    https://arxiv.org/abs/2306.06101
    """

    papers = ("mishchenko2024prodigy", "kingma2015adam")
    ranges = {"beta3": "[0, 1)", "d0": "(0, inf)", "eps": "(0, inf)", "growth_rate": "[1, inf]"}

    lr: float | torch.Tensor = 1.0
    betas: Pair = (0.9, 0.999)
    beta3: float | None = None
    eps: float = 1e-8
    weight_decay: float = 0.0
    decouple: bool = True
    use_bias_correction: bool = False
    safeguard_warmup: bool = False
    d0: float = 1e-6
    d_coef: float = 1.0
    growth_rate: float = float("inf")

    def init(self, s, p):
        s.x0, s.s, s.m, s.v = p, zeros(p), zeros(p), zeros(p, positive=True)
        s.r, s.d, s.dmax = shared(0.0), shared(self.d0), shared(self.d0)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        b3, d = sqrt(b2) if self.beta3 is None else self.beta3, s.d
        c = self.lr * (sqrt(1 - b2**t) / (1 - b1**t) if self.use_bias_correction else 1)
        decayed_p, g = decayed(p, g, d * c, self.weight_decay, self.decouple)
        w = d**2 / self.d0 * c
        s.r = b3 * s.r + every(total(w * g * (s.x0 - p)))
        s.s = b3 * s.s + (d**2 / self.d0 if self.safeguard_warmup else w) * g
        below = every(total(abs(s.s)))
        found = where(below <= 0, 0, self.d_coef * s.r / below)
        s.m = b1 * s.m + (1 - b1) * d * g
        s.v = b2 * s.v + (1 - b2) * d**2 * g**2
        s.dmax, s.x0 = maximum(s.dmax, found), s.x0
        s.d = minimum(s.dmax, self.growth_rate * where(d <= self.d0, maximum(d, found), d))
        return decayed_p - d * c * s.m / (sqrt(s.v) + s.d * self.eps)
