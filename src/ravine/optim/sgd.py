"""SGD, as torch writes it."""

from collections.abc import Mapping
from typing import Any

import torch

from ravine.optimizer import Optimizer
from ravine.words import where, zeros


class SGD(Optimizer):
    """Step against the gradient; with momentum, against a running sum of gradients.

        g ← g + λ p
        m ← μ m + (1 − τ) g        (m = g at the first step)
        p ← p − lr m               (nesterov: p − lr (g + μ m))

    With momentum = 0 there is no state and p ← p − lr g. The learning rate stands outside the sum, so
    when it changes, past gradients count with the new one; `Momentum` has the forms of the literature.
    The first step is that of the parameter: if momentum is switched on later, the sum begins at zero and its
    first gradient is dampened too, where torch takes it whole. The two differ only if τ is not 0.
    With a sparse gradient only its rows move, are decayed and change m; in torch all rows move by momentum and
    weight_decay raises.

    Use it for convolutional networks, with momentum 0.9 and a schedule, where its rate can be tuned; transformers want
    one of Adam's kind.

    Robbins & Monro 1951; Sutskever et al. 2013    https://proceedings.mlr.press/v28/sutskever13.html
    Numbers, names and defaults are those of torch.optim.SGD.
    """

    papers = ("robbins1951stochastic", "sutskever2013momentum")
    twin = torch.optim.SGD
    names = {"m": "momentum_buffer"}
    ranges = {"dampening": "(-inf, inf)"}
    sparse = True

    lr: float | torch.Tensor = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        if hyper["nesterov"] and (hyper["momentum"] <= 0 or hyper["dampening"] != 0):
            raise ValueError("SGD: nesterov=True needs momentum > 0 and dampening = 0")

    def init(self, s, p):
        if self.momentum:
            s.m = zeros(p)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        if not self.momentum:
            return p - self.lr * g
        s.m = where(t > 1, self.momentum * s.m + (1 - self.dampening) * g, g)
        return p - self.lr * (g + self.momentum * s.m if self.nesterov else s.m)
