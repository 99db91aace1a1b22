"""SGDW."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import zeros


class SGDW(Optimizer):
    """Momentum with weight decay that does not pass through it: the weights shrink by the same factor at every step.

        m ← μ m + lr g
        p ← (1 − lr λ) p − m                 (nesterov: lr g + μ m in the place of m)

    The rate stands inside m, as in the paper; timm and others have torch's SGD, with lr outside: the same path while
    lr stays. As in `AdamW` the decay is lr λ; in the paper it is η λ with η the schedule's multiplier alone, so
    this λ is the paper's divided by the peak learning rate. The decay is taken from the weights before the step, as in
    the paper and the authors' code. nesterov is of the authors' code, not of the algorithm.

    Use it in the place of SGD with momentum and weight_decay where both the rate and the decay are to be tuned: their
    best values depend on each other less. With a constant rate and momentum it is little different.

    Loshchilov & Hutter 2019, Algorithm 1    https://arxiv.org/abs/1711.05101
    """

    papers = ("loshchilov2019adamw",)
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-2
    nesterov: bool = False

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        s.m = self.momentum * s.m + self.lr * g
        step = self.lr * g + self.momentum * s.m if self.nesterov else s.m
        return ((1 - self.lr * self.weight_decay) * p if self.weight_decay else p) - step
