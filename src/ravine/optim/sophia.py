"""Sophia, with the Hessian's diagonal or that of Gauss and Newton."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import maximum, minimum, where, zeros


class SophiaH(Optimizer):
    """Momentum divided by the Hessian's diagonal where that is large, and steps of lr where it is small or negative.

        m ← β₁ m + (1 − β₁) g
        c ← β₂ c + (1 − β₂) h         in the steps in which h is measured
        p ← (1 − lr λ) p − lr clip(m / max(γ c, ε), 1)

    h comes from a source, in the first step and in every k-th after it, and m divides by it in the same step:
    `hessian = ravine.sources.Hutchinson(every=10)`, given as sources=[hessian]. The loop calls `hessian.backward(loss)`
    in the place of `loss.backward()`.

    No average is corrected for its beginning at 0. c is therefore small for the first 1 / (1 − β₂) measurements, and
    most steps are clipped then. The paper's γ is 0.01 with this estimate. With maximize=True h is that of what is
    maximized, and its negative counts.

    Use it for language models where layers have no fused attention, since that has no second derivative; else SophiaG.
    The rate is about that of Lion or a little below AdamW's: choose γ so that a tenth to a half of all steps are not
    clipped.

    Liu et al. 2024, Algorithm 3    https://arxiv.org/abs/2305.14342
    """

    papers = ("liu2024sophia",)
    inputs = {"h": "r c"}
    asks = """
    hessian = ravine.sources.Hutchinson(every=10)
    opt = ravine.SophiaH(model.parameters(), sources=[hessian])
and in the loop, in the place of loss.backward():
    hessian.backward(loss)"""
    turned = ("h",)
    ranges = {"eps": "(0, inf)"}

    lr: float | torch.Tensor = 1e-4
    betas: Pair = (0.965, 0.99)
    gamma: float = 0.01
    eps: float = 1e-12
    weight_decay: float = 0.1

    def init(self, s, p):
        s.m, s.c = zeros(p), zeros(p)

    def update(self, s, p, g, t, h, fresh):
        h = -h if self.maximize else h
        s.m, s.c = moved(self, s, g, h, fresh)
        return stepped(self, p, s.m / maximum(self.gamma * s.c, self.eps))


class SophiaG(Optimizer):
    """Sophia with the diagonal of the Gauss-Newton matrix, which is never negative and needs no second derivative.

        m ← β₁ m + (1 − β₁) g
        c ← β₂ c + (1 − β₂) h         in the steps in which h is measured
        p ← (1 − lr λ) p − lr clip(m / max(ρ c, ε), 1)        (eps_added: ρ c + ε)

    h comes from a source, for models whose outputs are the logits of classes. It draws the targets from the model:
    `fisher = ravine.sources.GaussNewtonBartlett(every=10)`, given as sources=[fisher]. The loop calls
    `fisher.backward(logits)` before `loss.backward()`.

    In the authors' code h has not the factor B, the rows of a batch, and its step takes it as `bs`: here h has it, so
    that ρ is theirs. It is the paper's γ, 0.05 there. eps_added is their code, with ε = 1e-15. That code takes h after
    the k-th step, so that its first k steps go by signs alone; here h is of the step's own weights, as in the paper.

    Use it to train language models with one backward pass more in ten steps. The rate is about that of Lion or a little
    below AdamW's: choose ρ so that a tenth to a half of all steps are not clipped.

    Liu et al. 2024, Algorithm 3    https://arxiv.org/abs/2305.14342
    """

    papers = ("liu2024sophia",)
    inputs = {"h": "r c"}
    asks = """
    fisher = ravine.sources.GaussNewtonBartlett(every=10)
    opt = ravine.SophiaG(model.parameters(), sources=[fisher])
and in the loop, before loss.backward():
    fisher.backward(logits)"""
    ranges = {"eps": "(0, inf)"}

    lr: float | torch.Tensor = 1e-4
    betas: Pair = (0.965, 0.99)
    rho: float = 0.04
    eps: float = 1e-12
    weight_decay: float = 0.1
    eps_added: bool = False

    def init(self, s, p):
        s.m, s.c = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t, h, fresh):
        s.m, s.c = moved(self, s, g, h, fresh)
        d = self.rho * s.c
        return stepped(self, p, s.m / (d + self.eps if self.eps_added else maximum(d, self.eps)))


def moved(self, s, g, h, fresh):
    """The averages of the gradient and, where it was measured in this step, of h."""
    b1, b2 = self.betas
    return b1 * s.m + (1 - b1) * g, where(fresh > 0, b2 * s.c + (1 - b2) * h, s.c)


def stepped(self, p, u):
    """The weights after a step along u, clipped to 1 element by element."""
    return (1 - self.lr * self.weight_decay) * p - self.lr * maximum(minimum(u, 1.0), -1.0)
