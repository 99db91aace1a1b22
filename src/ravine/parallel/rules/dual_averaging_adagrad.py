"""AdaGrad by dual averaging, on a server."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import filled, sqrt, zeros


class DualAveragingAdaGrad(Optimizer):
    """AdaGrad by dual averaging: the parameters are computed anew from the sum of all gradients.

        ḡ ← ḡ + g,   z ← z + g²
        p ← x₀ − lr ḡ / √z          z begins at 1

    Both states are sums, so up to rounding the result does not depend on the order in which gradients arrive, and
    states of servers that worked apart can be added. `ravine.AdaGradRDA` adds an L1 penalty, for one process. The next
    step undoes any other change to the parameters, such as a decay. lr: tune it.

    Duchi, Jordan & McMahan 2013, Estimation, optimization, and parallelism when data is sparse, NIPS 26
    McMahan & Streeter 2014  https://proceedings.neurips.cc/paper/2014/hash/5cce8dede893813f879b873962fb669f-Abstract.html
    """

    papers = ("duchi2013estimation", "mcmahan2014delay")

    lr: float | torch.Tensor = 0.1

    def init(self, s, p):
        s.x0, s.sum, s.z = p, zeros(p), filled(p, 1.0, positive=True)

    def update(self, s, p, g, t):
        s.x0, s.sum, s.z = s.x0, s.sum + g, s.z + g**2
        return s.x0 - self.lr * s.sum / sqrt(s.z)
