"""QHM and QHAdam: quasi-hyperbolic momentum."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import decayed, lerp, number, sqrt, zeros


class QHM(Optimizer):
    """Momentum that trusts the newest gradient more: a step between plain SGD and averaged momentum.

        m ← β m + (1 − β) g
        p ← p − lr [(1 − ν) g + ν m]

    ν = 0 is SGD, ν = 1 is `Momentum(form="average")`, ν = β is Nesterov's momentum as `SGD(nesterov=True)` has it, at
    lr (1 − β). m is an average, so the rate of plain momentum is to be divided by 1 − β: 0.1 with β = 0.9 is 1.0 here.
    ν may lie outside [0, 1], as other methods written in this form ask for. weight_decay adds λp to g
    (decoupled_weight_decay: takes lr λ p off the weights instead): "grad" and "direct" in the authors' package.

    Use it in the place of SGD with momentum: its ν = 0.7, β = 0.999 are good without tuning where plain momentum
    with β above 0.9 would be unstable.

    Ma & Yarats 2019, equations 3 and 4    https://arxiv.org/abs/1810.06801
    The authors' package, qhoptim, has no defaults: these ν and β are what the paper recommends.
    """

    papers = ("ma2019qhm",)
    ranges = {"momentum": "[0, 1)", "nu": "(-inf, inf)"}

    lr: float | torch.Tensor = 0.1
    momentum: float = 0.999
    nu: float = 0.7
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        s.m = self.momentum * s.m + (1 - self.momentum) * g
        return p - self.lr * lerp(g, s.m, self.nu)


class QHAdam(Optimizer):
    """Adam with both moments quasi-hyperbolic: each counts the newest gradient once more.

        w₁ ← 1 + β₁ w₁                m ← m + (g − m) / w₁
        w₂ ← 1 + β₂ w₂                v ← v + (g² − v) / w₂
        p ← p − lr [(1 − ν₁) g + ν₁ m] / (√[(1 − ν₂) g² + ν₂ v] + ε)

    m and v are weighted means of all gradients, with no zero at their beginning: for constant β they are Adam's m̂ and
    v̂. When β follows a schedule they stay means, while the paper's 1 − βᵗ would be that of another average; so does
    the authors' code. Some ports leave the correction out. ν = (1, 1) is Adam; ν = (β₁, 1) is close to NAdam.
    weight_decay adds λp to g (decoupled_weight_decay: takes lr λ p off the weights instead).

    Use it in the place of Adam, with the paper's nus = (0.7, 1) and betas = (0.995, 0.999), where β₁ = 0.9 forgets too
    soon. Where Adam becomes unstable, ν₂ a little below 1 bounds its steps.

    Ma & Yarats 2019, section 4    https://arxiv.org/abs/1810.06801
    Defaults are those of the authors' package, qhoptim: Adam.
    """

    papers = ("ma2019qhm",)
    ranges = {"nus": "[0, 1]"}

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    nus: Pair = (1.0, 1.0)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)
        s.w1, s.w2 = number(0.0), number(0.0)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decoupled_weight_decay)
        s.w1, s.w2 = 1 + b1 * s.w1, 1 + b2 * s.w2
        s.m = lerp(s.m, g, 1 / s.w1)
        s.v = (1 - 1 / s.w2) * s.v + g**2 / s.w2
        nu1, nu2 = self.nus
        return p - self.lr * lerp(g, s.m, nu1) / (sqrt((1 - nu2) * g**2 + nu2 * s.v) + self.eps)
