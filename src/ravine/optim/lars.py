"""LARS."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer
from ravine.words import minimum, norm, where, zeros


class LARS(Optimizer):
    """Momentum whose step in each tensor is measured by the tensor itself: for very large batches.

        r = η ‖p‖ / (‖g‖ + λ ‖p‖ + ε)      (1 where ‖p‖ or what is below it, without ε, is 0)
        v ← μ v + lr r (g + λ p)
        p ← p − v

    η is trust_coefficient. The rate stands inside v, as in the paper, where most libraries have it outside: the same
    path while lr stays. denominator="decayed" divides by ‖g + λp‖ (the code of MoCo v3 and others) and "gradient" by
    ‖g‖ alone. The first step is scaled like every other. The paper has no ε. With r = 1 a layer that begins at
    zero can leave it, by a step 1/η times larger than others: a gradient step.

    Nothing is left out by itself: put biases and normalization weights into a group of `SGD`, or
    into one with weight_decay=0 and a trust_coefficient of their own, as is usual. timm scales only groups that decay.

    Use it for convolutional networks with batches of many thousands, with a warm-up of lr; for transformers take LAMB.

    You, Gitman & Ginsburg 2017, Algorithm 1    https://arxiv.org/abs/1708.03888
    """

    papers = ("you2017lars",)
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    trust_coefficient: float = 1e-3
    eps: float = 0.0
    denominator: Literal["sum", "decayed", "gradient"] = "sum"

    def init(self, s, p):
        s.v = zeros(p)

    def update(self, s, p, g, t):
        u = g + self.weight_decay * p if self.weight_decay else g
        below = norm(u) if self.denominator == "decayed" else norm(g)
        if self.denominator == "sum" and self.weight_decay:
            below = below + self.weight_decay * norm(p)
        ratio = self.trust_coefficient * norm(p) / (below + self.eps)
        s.v = self.momentum * s.v + self.lr * where(minimum(norm(p), below) > 0, ratio, 1) * u
        return p - s.v
