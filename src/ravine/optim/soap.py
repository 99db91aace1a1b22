"""SOAP."""

from typing import Literal

import torch

from ravine.matrix import basis, follow
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import eye, is_vector, matrix_op, maximum, norm, numel, sqrt, turn, where, zeros


@matrix_op("n n, n n, n k -> n n, n k")
def turned(a, q, m, t):
    """The basis a step further along the eigenvectors of a, at t = 1 these themselves; and m, which is in q, in it."""
    new = basis(a) if t <= 1 else follow(a, q)
    return new, new.mT @ (q @ m)


class SOAP(Optimizer):
    """Adam in the eigenbasis of Shampoo's factors, which is followed slowly: rotated, each weight is nearly by itself.

        g' = Qₗᵀ g Qᵣ
        m' ← β₁ m' + (1 − β₁) g'         v ← β₂ v + (1 − β₂) g'²
        p ← (1 − lr λ) (p − lr √(1 − β₂ˢ) / (1 − β₁ˢ) Qₗ (m' / (√v + ε)) Qᵣᵀ)
        L ← β₃ L + (1 − β₃) g gᵀ         R ← β₃ R + (1 − β₃) gᵀ g
        Qₗ, Qᵣ ← QR of L Qₗ and R Qᵣ every `interval` steps, and m' into the new basis

    As in the authors' code: the first step moves nothing, its gradient alone makes L, R and their eigenvectors, and s
    counts from the second; ε is added to √v before it is corrected (ε-hat); β₃ is β₂ if shampoo_beta says nothing; the
    decay is of the weights after the step; vectors have Adam's step, without a basis. skip_first=False
    makes Adam's step of it, without a basis, as NVIDIA's does, and s is t. A step in the basis of the same gradient, as
    some ports make it, is of rounding: there a gradient has its singular values, and zeros that Adam divides by zeros.
    normalize gives each tensor's step an RMS of lr, as the authors advise where interval is about 100. sides="left" or
    "right" has one basis, for matrices that are large in one dimension.

    interval=1 is the QR at every step. Columns of Q are orthogonalised from the largest eigenvalue on, and stay in
    their places, so v need not move: the authors sort Q and v instead, which is the same step. Ports that sort one of
    them, that leave m' in the old basis, or take it for one in the new, make other steps. A tensor of more than two
    dimensions is one matrix, where the authors have a factor for each dimension.

    Use it where Adam is used and a step may cost more: in matched comparisons of language models it needs the fewest
    steps. Rates of Adam serve, and large embeddings want sides="right" or a rule of their own (`ravine.Routed`).

    Vyas et al. 2025, Algorithm 3    https://arxiv.org/abs/2409.11321
    """

    papers = ("vyas2025soap",)
    ranges = {"shampoo_beta": "[0, 1)"}

    lr: float | torch.Tensor = 3e-3
    betas: Pair = (0.95, 0.95)
    shampoo_beta: float | None = None
    eps: float = 1e-8
    weight_decay: float = 0.01
    interval: int = 10
    stagger: bool = False
    skip_first: bool = True
    bias_correction: bool = True
    normalize: bool = False
    sides: Literal["both", "left", "right"] = "both"
    blocks: Block | None = None

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)
        if not is_vector(p):
            if self.sides != "right":
                s.L, s.QL = zeros("r r"), eye("r")
            if self.sides != "left":
                s.R, s.QR = zeros("c c"), eye("c")

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        matrix = not is_vector(p)
        turned_g = self.into(s, g) if matrix else g
        m = b1 * s.m + (1 - b1) * turned_g
        v = b2 * s.v + (1 - b2) * turned_g**2
        u = m / (sqrt(v) + self.eps)
        u = self.out_of(s, u) if matrix else u
        if self.normalize:
            u = u / (1e-30 + sqrt(norm(u) ** 2 / numel(u)))
        if self.bias_correction:
            steps = maximum(t - 1, 1) if self.skip_first else t
            u = sqrt(1 - b2**steps) / (1 - b1**steps) * u
        new = (1 - self.lr * self.weight_decay) * (p - self.lr * u)
        if self.skip_first:
            m, v, new = where(t > 1, m, s.m), where(t > 1, v, s.v), where(t > 1, new, p)
        s.m, s.v = self.followed(s, m, g, t) if matrix else m, v
        return new

    def into(self, s, x):
        """x in the basis."""
        x = x if self.sides == "right" else s.QL.T @ x
        return x if self.sides == "left" else x @ s.QR

    def out_of(self, s, x):
        """What is x in the basis."""
        x = x if self.sides == "right" else s.QL @ x
        return x if self.sides == "left" else x @ s.QR.T

    def followed(self, s, m, g, t):
        """m in the bases of the next step, which these become where it is their turn."""
        b3 = self.betas[1] if self.shampoo_beta is None else self.shampoo_beta
        due = turn(t, self.interval, stagger=self.stagger)
        if self.sides != "right":
            s.L = b3 * s.L + (1 - b3) * (g @ g.T)
            s.QL, m = turned(s.L, s.QL, m, t, due=due, old=(s.QL, m))
        if self.sides != "left":
            s.R = b3 * s.R + (1 - b3) * (g.T @ g)
            s.QR, m = turned(s.R, s.QR, m.T, t, due=due, old=(s.QR, m.T))
            m = m.T
        return m
