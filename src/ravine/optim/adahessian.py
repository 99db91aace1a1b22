"""AdaHessian."""

from typing import Literal

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import sqrt, zeros


class AdaHessian(Optimizer):
    """Adam whose v averages the square of the Hessian's diagonal h where Adam has that of the gradient.

        m ← β₁ m + (1 − β₁) g         m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) h²        v̂ = v / (1 − β₂ᵗ)
        p ← (1 − lr λ) p − lr m̂ / ((√v̂)ᵏ + ε)

    h comes from a source that has to see the backward pass: `hessian = ravine.sources.Hutchinson(spatial=True)`, given
    as sources=[hessian]. The loop calls `hessian.backward(loss)` in the place of `loss.backward()`.

    k is the Hessian power: 1 is a Newton step where the Hessian is diagonal; the paper has all down to 0, momentum
    alone. `spatial` averages |h| over a row or a kernel, as the authors do. With `every=` in the source h is
    measured in some steps, and in the others v averages the last one. h² knows no sign: where the loss curves down, the
    step is as long as where it curves up as much. The decay is off the weights, as in the authors' code, though its
    docstring calls it an L2 penalty.

    Use it where two or three backward passes in a step can be paid, on losses whose curvature differs much from weight
    to weight and is not told by the gradient. lr is near that of SGD, not of Adam: 0.15 is the authors'.

    Yao et al. 2021, Algorithm 1    https://arxiv.org/abs/2006.00719
    """

    papers = ("yao2021adahessian",)
    inputs = {"h": "r c"}
    asks = """
    hessian = ravine.sources.Hutchinson(spatial=True)
    opt = ravine.AdaHessian(model.parameters(), sources=[hessian])
and in the loop, in the place of loss.backward():
    hessian.backward(loss)"""

    lr: float | torch.Tensor = 0.15
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-4
    weight_decay: float = 0.0
    hessian_power: Literal["1", "1/2", "1/4"] = "1"

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t, h):
        b1, b2 = self.betas
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * h**2
        d = power(sqrt(s.v / (1 - b2**t)), self.hessian_power) + self.eps
        return (1 - self.lr * self.weight_decay) * p - self.lr * (s.m / (1 - b1**t)) / d


def power(x, k):
    """xᵏ."""
    return {"1": lambda: x, "1/2": lambda: sqrt(x), "1/4": lambda: sqrt(sqrt(x))}[k]()
