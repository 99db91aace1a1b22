"""AdaptiveRevision."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import filled, maximum, sqrt


class AdaptiveRevision(Optimizer):
    """AdaGrad for gradients that arrive late: what was applied meanwhile counts, and its steps are revised.

        b: the sum of the gradients applied since the worker read its parameters      (`meanwhile`)

        z ← z + g² + 2 g b
        η = lr / √z′,   z′ ← max(z, z′),   η′ = lr / √z′          z and z′ begin at 1
        p ← p − η′ g + (η − η′) b

    Without delay b is 0, and this is `AsyncAdaGrad`. g and b were computed at nearly the same point. If their signs
    agree, z grows as for one gradient g + b; if they do not, z may fall. z′ is the largest z so far: rates never grow.
    The steps of b were made with the larger rate η; the last term corrects them to η′.

    Use it where delays are of hundreds of updates and more: its best rate hardly depends on the delay, while
    AdaGrad's falls. lr: tune it. For each worker, the server keeps the sum of gradients as it was when the worker read.

    McMahan & Streeter 2014    https://proceedings.neurips.cc/paper/2014/hash/5cce8dede893813f879b873962fb669f-Abstract.html
    The rule is that of two public implementations (Petuum's AdaRevisionServerTableLogic and AdarevTable).
    """

    papers = ("mcmahan2014delay",)

    inputs = {"meanwhile": "r c"}

    lr: float | torch.Tensor = 0.1

    def init(self, s, p):
        s.z, s.largest = filled(p, 1.0, positive=True), filled(p, 1.0, positive=True)

    def update(self, s, p, g, t, meanwhile):
        before = self.lr / sqrt(s.largest)
        s.z = z = s.z + g**2 + 2 * g * meanwhile
        s.largest = largest = maximum(z, s.largest)
        after = self.lr / sqrt(largest)
        return p - after * g + (before - after) * meanwhile
