"""Adam-2k and Adam-eps: the two experiments of the RAdam paper."""

import torch

from transcriptions.draw import ADAM


class Adam2kPaper:
    """Liu et al. 2020, section 3.1    https://arxiv.org/abs/1908.03265

        φ̂_t = (1 − β₁) Σᵢ β₁^{t−i} gᵢ / (1 − β₁ᵗ)                       i from the first step after the warm-up
        ψ̂_t = √(1 − β₂ᵗ) / (ε + √[(1 − β₂) Σᵢ β₂^{t−i} gᵢ²])             i from 1
        θ_t = θ_{t−1} − α φ̂_t ψ̂_t                                       after the warm-up, else θ_{t−1}

    weight_decay: αλθ_{t−1} beside the step, as the authors' code.
    """

    def __init__(self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, warmup=2000):
        self.theta = p.clone()
        self.lr, self.betas, self.eps, self.lam, self.warmup = lr, betas, eps, weight_decay, warmup
        self.seen = []

    def step(self, g):
        beta1, beta2 = self.betas
        self.seen.append(g.clone())
        t = len(self.seen)
        if t <= self.warmup:
            return self.theta
        phi, psi = torch.zeros_like(g), torch.zeros_like(g)
        for i, x in enumerate(self.seen, 1):
            psi = psi + (1 - beta2) * beta2 ** (t - i) * x * x
            if i > self.warmup:
                phi = phi + (1 - beta1) * beta1 ** (t - i) * x
        phi = phi / (1 - beta1**t)
        psi = (1 - beta2**t) ** 0.5 / (self.eps + torch.sqrt(psi))
        self.theta = self.theta - self.lr * phi * psi - self.lr * self.lam * self.theta
        return self.theta


class AdamEpsPaper(Adam2kPaper):
    """Liu et al. 2020, section 3.1: no warm-up, and an ε that is felt    https://arxiv.org/abs/1908.03265"""

    def __init__(self, p, lr=1e-3, betas=(0.9, 0.999), eps=1e-4, weight_decay=0.0):
        super().__init__(p, lr, betas, eps, weight_decay, warmup=0)


SPACES = {"Adam2k": ADAM | {"warmup": [0, 1, 7]}, "AdamEps": ADAM}
EDGES = {"Adam2k": [{"warmup": 3, "betas": (0.0, 0.0)}], "AdamEps": [{"betas": (0.0, 0.0)}, {"eps": 1.0}]}
