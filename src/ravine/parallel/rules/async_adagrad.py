"""AsyncAdaGrad."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import filled, sqrt


class AsyncAdaGrad(Optimizer):
    """AdaGrad as a server runs it: gradients are applied as they arrive, whatever they were computed at.

        z ← z + g²
        p ← p − lr g / √z          z begins at 1

    z depends on nothing but the gradients that arrive, so each shard keeps its own and needs nothing from the others.
    With delays, several gradients are computed at nearly the same point. Where they agree, the sum of their squares is
    smaller than the square of their sum, so steps are too long, and the best rate falls as delays grow: see
    `AdaptiveRevision`.
    lr: tune it; no paper gives a value for all tasks.

    Duchi, Jordan & McMahan 2013, Estimation, optimization, and parallelism when data is sparse, NIPS 26
    McMahan & Streeter 2014  https://proceedings.neurips.cc/paper/2014/hash/5cce8dede893813f879b873962fb669f-Abstract.html
    """

    papers = ("duchi2013estimation", "mcmahan2014delay")

    lr: float | torch.Tensor = 0.1

    def init(self, s, p):
        s.z = filled(p, 1.0, positive=True)

    def update(self, s, p, g, t):
        s.z = s.z + g**2
        return p - self.lr / sqrt(s.z) * g  # in this order, as AdaptiveRevision has it: the same bits without delay
