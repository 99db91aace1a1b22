"""Delay-compensated asynchronous SGD."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import sqrt, zeros


class DCASGD(Optimizer):
    """Asynchronous SGD that corrects a late gradient for the steps made since, with its square as the curvature.

        r: the parameters as the worker read them      (`read`)

        v ← m v + (1 − m) g²                     m: decay
        λ = λ₀ / √(v + ε)                        λ₀: compensation; adaptive=False: λ = λ₀
        p ← p − lr (g + λ g² (p − r))

    g² stands for the diagonal of the Hessian. adaptive=True is DC-ASGD-a; λ₀ = 2, m = 0.95 and ε = 1e-7 are the
    authors' on CIFAR-10. adaptive=False is DC-ASGD-c; give compensation=0.04 then, as they do. λ₀ = 0 is SGD. The
    authors' code keeps a v for each worker; the paper, and this rule, keep one. For each worker, the server keeps the
    parameters that it read. lr: tune it.

    Zheng et al. 2017    https://arxiv.org/abs/1609.08326
    """

    papers = ("zheng2017delay",)
    ranges = {"compensation": "[0, inf)", "decay": "[0, 1)"}

    inputs = {"read": "r c"}

    lr: float | torch.Tensor = 0.1
    compensation: float = 2.0
    adaptive: bool = True
    decay: float = 0.95
    eps: float = 1e-7

    def init(self, s, p):
        if self.adaptive:
            s.v = zeros(p, positive=True)

    def update(self, s, p, g, t, read):
        compensation = self.compensation
        if self.adaptive:
            s.v = self.decay * s.v + (1 - self.decay) * g**2
            compensation = compensation / sqrt(s.v + self.eps)
        return p - self.lr * (g + compensation * g**2 * (p - read))
