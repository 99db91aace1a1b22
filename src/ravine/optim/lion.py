"""Lion."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, sign, zeros


class Lion(Optimizer):
    """The sign of two momenta blended: every weight moves by lr, and there is one state where Adam has two.

        c = β₁ m + (1 − β₁) g
        m ← β₂ m + (1 − β₂) g
        p ← (1 − lr λ) p − lr sign(c)

    The decay is off the weights and never in g, as in the paper and the authors' code: inside the sign it would
    change directions only (bitsandbytes had it so in several of its backends until 2026).

    Use it to train with half of Adam's memory, on large batches above all: with a learning rate 3 to 10 times
    smaller than AdamW's and λ as much larger, so that lr λ stays. On small batches the sign is mostly noise.

    Chen et al. 2023, Algorithm 2    https://arxiv.org/abs/2302.06675
    """

    papers = ("chen2023lion",)

    lr: float | torch.Tensor = 1e-4
    betas: Pair = (0.9, 0.99)
    weight_decay: float = 0.0

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        c = b1 * s.m + (1 - b1) * g
        s.m = b2 * s.m + (1 - b2) * g
        return p - self.lr * sign(c)
