"""Shampoo."""

from typing import Any, Literal

import torch

from ravine.matrix import inverse_root
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import decayed, eye, is_vector, norm, sqrt, turn, where, zeros


class Shampoo(Optimizer):
    """AdaGrad with a matrix for the rows and one for the columns of each weight matrix, in place of a number each.

        L ← L + g gᵀ          R ← R + gᵀ g
        p ← p − lr (L + ε I)^(−1/4) g (R + ε I)^(−1/4)

    average=True keeps averages, L ← β₂ L + (1 − β₂) g gᵀ, corrected for their zero start. sides="left" has L alone, and
    "right" R alone. The exponent is −1/(2k) for k sides: 1/4 for both, 1/2 for one; ports that took −1/k divide by the
    square of what they should. With β₁ > 0 the gradient in the step is m / (1 − β₁ᵗ), of m ← β₁ m + (1 − β₁) g. graft
    gives each tensor's step the length of another method's: of "sgd", "adagrad", "rmsprop" or "adam" (the last two with
    β₂, and of m where there is one), with graft_eps in its denominator. Roots are made anew every `interval` steps;
    stagger=True gives each tensor its own step of these. The first step uses the roots of
    its own gradient, which are large where that has nothing: until their next turn only a graft bounds the step there.

    A vector has the diagonal of the paper's matrix: g / √(G + ε), G the sum or average of g². A tensor of more than two
    dimensions is one matrix, its first dimension by all others. blocks=Partition(1024) cuts larger matrices into blocks
    with factors of their own, without which a factor of a large vocabulary fits in no memory; the grafted length is
    that of the whole tensor. Factors stay in float32 for bf16 weights.

    Use it where a step is dear against its overhead: large batches, many processes. Begin with average=True,
    graft="adam", interval=10, and the rate of Adam.

    Gupta, Koren & Singer 2018, Algorithm 1    https://arxiv.org/abs/1802.09568
    Grafting and blocks: Anil et al. 2020      https://arxiv.org/abs/2002.09018
    """

    papers = ("gupta2018shampoo", "anil2020scalable")

    lr: float | torch.Tensor = 1e-2
    betas: Pair = (0.0, 0.99)
    eps: float = 1e-6
    weight_decay: float = 0.0
    decouple: bool = False
    average: bool = False
    sides: Literal["both", "left", "right"] = "both"
    exponent: float | None = None
    graft: Literal["none", "sgd", "adagrad", "rmsprop", "adam"] = "none"
    graft_eps: float = 1e-8
    interval: int = 1
    stagger: bool = False
    blocks: Block | None = None

    def init(self, s, p):
        if self.betas[0]:
            s.m = zeros(p)
        if is_vector(p):
            s.G = zeros(p, positive=True)
        else:
            if self.sides != "right":
                s.L, s.PL = zeros("r r"), eye("r")
            if self.sides != "left":
                s.R, s.PR = zeros("c c"), eye("c")
        if self.graft not in ("none", "sgd"):
            s.v = zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        vector = is_vector(p)
        p, g = decayed(p, g, self.lr, self.weight_decay, self.decouple)
        m, c2 = g, 1 - b2**t
        u: Any
        if b1:
            s.m = b1 * s.m + (1 - b1) * g
            m = s.m / (1 - b1**t)
        if vector:
            s.G = gathered(s.G, g**2, b2, self.average)
            u = m / sqrt((s.G / c2 if self.average else s.G) + self.eps)
        else:
            u = self.preconditioned(s, m, g, t, c2 if self.average else 1.0)
        if self.graft == "none":
            return p - self.lr * u
        if self.graft == "sgd":
            other = m
        else:
            s.v = gathered(s.v, g**2, b2, self.graft != "adagrad")
            other = m / (sqrt(s.v / c2 if self.graft == "adam" else s.v) + self.graft_eps)
        return p - self.lr * where(norm(u) > 0, norm(other) / norm(u), 0) * u

    def preconditioned(self, s, m, g, t, corrected) -> Any:
        """L^(−a) m R^(−a)."""
        due, b2 = turn(t, self.interval, stagger=self.stagger), self.betas[1]
        exponent = self.exponent
        if exponent is None:
            exponent = 0.25 if self.sides == "both" else 0.5
        if self.sides != "right":
            s.L = gathered(s.L, g @ g.T, b2, self.average)
            s.PL = inverse_root(s.L / corrected, self.eps, exponent, due=due, old=s.PL)
            m = s.PL @ m
        if self.sides != "left":
            s.R = gathered(s.R, g.T @ g, b2, self.average)
            s.PR = inverse_root(s.R / corrected, self.eps, exponent, due=due, old=s.PR)
            m = m @ s.PR
        return m


def gathered(x, new, beta, average):
    """The sum of all that is new, or its average."""
    return beta * x + (1 - beta) * new if average else x + new
