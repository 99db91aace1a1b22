"""Momentum, in the three forms of the literature."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer
from ravine.words import zeros


class Momentum(Optimizer):
    """A heavy ball: the step remembers the steps before it.

        heavy_ball    v ← γ v + lr g            p ← p − v
        average       v ← γ v + (1 − γ) g       p ← p − lr v
        polyak        p ← p − lr g + γ (p − p₋₁)

    heavy_ball (the form of Qian, and of Rumelhart et al. 1986) and polyak are one path, with v = p₋₁ − p, whatever the
    schedule of lr: the learning rate stands inside v, so past gradients keep the lr they came with. average
    is the same path at constant lr after lr → lr / (1 − γ); there the lr stands outside. `SGD(momentum=…)` is torch's
    form, the same path at constant lr.

    Use it where you would use SGD with momentum, and the rate follows a schedule or a paper's own form is wanted.

    Polyak 1964                           https://doi.org/10.1016/0041-5553(64)90137-5
    Qian 1999, equation 2                 https://doi.org/10.1016/S0893-6080(98)00116-6
    """

    papers = ("polyak1964momentum", "qian1999momentum")
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 1e-2
    momentum: float = 0.9
    weight_decay: float = 0.0
    form: Literal["heavy_ball", "average", "polyak"] = "heavy_ball"

    def init(self, s, p):
        if self.form == "polyak":
            s.before = 1.0 * p
        else:
            s.v = zeros(p)

    def update(self, s, p, g, t):
        if self.weight_decay:
            g = g + self.weight_decay * p
        if self.form == "polyak":
            before, s.before = s.before, p
            return p - self.lr * g + self.momentum * (p - before)
        if self.form == "average":
            s.v = self.momentum * s.v + (1 - self.momentum) * g
            return p - self.lr * s.v
        s.v = self.momentum * s.v + self.lr * g
        return p - s.v
