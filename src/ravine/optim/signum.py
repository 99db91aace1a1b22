"""signSGD and Signum."""

import torch

from ravine.optimizer import Optimizer
from ravine.words import decayed, sign, zeros


class SignSGD(Optimizer):
    """Only the sign of the gradient counts: every weight moves by lr.

        p ← p − lr sign(g)

    A weight whose gradient is 0 stays. weight_decay adds λp to g before the sign, where it competes with g and does not
    shrink the weights in proportion; decoupled_weight_decay takes lr λ p off them instead, as later users of
    sign steps do. The paper has no decay in its algorithms.

    Use it where gradients are sent between machines, one bit a weight, or as the plainest rule that does not see the
    scale of gradients. The rate must fall, or the weights keep swinging by lr.

    Bernstein et al. 2018, Algorithm 1    https://arxiv.org/abs/1802.04434
    """

    papers = ("bernstein2018signsgd",)

    lr: float | torch.Tensor = 1e-4
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    def update(self, s, p, g, t):
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        return p - self.lr * sign(g)


class Signum(Optimizer):
    """Momentum that steps by its sign alone: every weight moves by lr.

        m ← β m + (1 − β) g
        p ← p − lr sign(m)

    Only the sign of m counts, so m ← β m + g is the same path. β = 0 is `SignSGD`. Weight decay as there.

    Use it where Adam's second state is too much memory and batches are large: it has one state, and takes
    rates about as large as Adam's or a little smaller. `Lion` adds a second β and is usually the better choice.

    Bernstein et al. 2018, Algorithm 2    https://arxiv.org/abs/1802.04434
    """

    papers = ("bernstein2018signsgd",)
    ranges = {"momentum": "[0, 1)"}

    lr: float | torch.Tensor = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        s.m = self.momentum * s.m + (1 - self.momentum) * g
        return p - self.lr * sign(s.m)
