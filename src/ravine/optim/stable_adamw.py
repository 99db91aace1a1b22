"""StableAdamW."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, maximum, numel, sqrt, total, zeros


class StableAdamW(Optimizer):
    """AdamW that makes a shorter step in a tensor whose gradients have outgrown what v remembers of them.

        m ← β̂₁ m + (1 − β̂₁) g             β̂ = β (1 − βᵗ⁻¹) / (1 − βᵗ)
        v ← β̂₂ v + (1 − β̂₂) g²
        RMS = √ mean(g² / max(v, ε²))
        η = lr / max(1, RMS)
        p ← (1 − η λ) p − η m / (√v + ε)

    β̂ is Adam's bias correction inside the averages, where AdaFactor has it: m and v are Adam's m̂ and v̂. RMS and η
    belong to one tensor. The decay is scaled by η too, so it is less wherever a step is clipped. weight_decay is
    multiplied by the rate, as in torch; a paper's or library's "fully decoupled" λ is lr λ here. Defaults are those
    of the package optimi; of the paper, which has no number for ε, only the form is taken.

    Use it in the place of AdamW with gradient clipping when the loss spikes, in low precision above all: it keeps one
    bad batch from breaking a layer, and needs no threshold. β₂ = 0.95 to 0.99 goes well with it.

    Wortsman et al. 2023, Algorithm 2    https://arxiv.org/abs/2304.13013
    """

    papers = ("wortsman2023stable",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.99)
    eps: float = 1e-6
    weight_decay: float = 1e-2

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = (b * (1 - b ** (t - 1)) / (1 - b**t) for b in self.betas)
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        rms = sqrt(total(g**2 / maximum(s.v, self.eps**2)) / numel(p))
        lr = self.lr / maximum(1, rms)
        p, _ = decayed(p, g, lr, self.weight_decay, True)
        return p - lr * s.m / (sqrt(s.v) + self.eps)
