"""GaLore."""

from collections.abc import Mapping
from typing import Any

import torch

from ravine.matrix import Projection, low_rank, sides, subspace, whole_and_positive
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import is_vector, matrix_op, sqrt, turn, zeros


class GaLore(Optimizer):
    """Adam in a subspace of each gradient, which is found anew now and then: both moments are as small as that is.

        P ← the k right singular vectors of g with the largest singular values, every `update_proj_gap` steps; k = rank
        h = g P
        m ← β₁ m + (1 − β₁) h         v ← β₂ v + (1 − β₂) h²
        p ← (1 − lr λ) (p − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) α (m / (√v + ε)) Pᵀ)          α = scale

    For an r × c matrix P is c × k, and m and v are r × k. That is where r ≥ c; other matrices have left singular
    vectors in front, h = Pᵀ g, so that P is on the shorter side. proj_type="reverse_std" has it on the longer one,
    "right" and "left" where they say, and "full" on both sides, with moments of k × k. A rank above the smaller size is
    that size.

    As in the authors' code: ε is added to √v before it is corrected (ε-hat), the decay is of the weights after the
    step, and m and v stay as they are when P changes, though they are numbers of the old subspace. rotate=True turns
    them: m ← m R and v ← v R², R = Pᵀ P' from the old to the new and R² element by element, so that what the new
    subspace shares with the old is kept and the rest is forgotten. Singular vectors point to where their predecessors
    did; the authors take the signs that LAPACK gives, which differ between machines and turn m around at a change. P
    stays in float32 for bf16 weights, where theirs is rounded and no longer orthonormal; storage="bf16" keeps m and v
    in bf16.

    A tensor of more than two dimensions is one matrix, its first dimension by all others, or a stack of them with
    blocks. Vectors have Adam's step. ravine.create("galore", model) gives it the matrices inside a model and AdamW the
    rest. stagger=True gives each tensor its own step for its singular vectors, which take far longer than all else.

    Use it to pretrain or fine-tune a model whose moments do not fit: ranks of a quarter to a half of the width, and
    rates some ten times those of Adam, since α is beside them. The step itself is as large as the gradient, in float32,
    for as long as it lasts: gradient release (`ravine.release`) makes that the size of one layer.

    Zhao et al. 2024, Algorithm 2    https://arxiv.org/abs/2403.03507
    """

    papers = ("zhao2024galore",)
    matrices = True

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.0
    rank: int = 128
    update_proj_gap: int = 200
    scale: float = 0.25
    proj_type: Projection = "std"
    rotate: bool = False
    stagger: bool = False
    blocks: Block | None = None

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        whole_and_positive(cls.__name__, hyper)

    def init(self, s, p):
        if is_vector(p):
            s.m, s.v = zeros(p), zeros(p, positive=True)
            return
        left, right = sides(self.proj_type, p)
        k, low = low_rank(self.rank, p), f"{'k' if left else 'r'} {'k' if right else 'c'}"
        s.m, s.v = zeros(low, k=k, average=True), zeros(low, k=k, average=True)
        if left:
            s.PL = zeros("r k", k=k)
        if right:
            s.PR = zeros("c k", k=k)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        h, m, v = (g, s.m, s.v) if is_vector(p) else self.projected(s, p, g, t)
        s.m = b1 * m + (1 - b1) * h
        s.v = b2 * v + (1 - b2) * h**2
        u = s.m / (sqrt(s.v) + self.eps)
        if not is_vector(p):
            left, right = sides(self.proj_type, p)
            u = s.PL @ u if left else u
            u = self.scale * (u @ s.PR.T if right else u)
        new = p - self.lr * sqrt(1 - b2**t) / (1 - b1**t) * u
        return (1 - self.lr * self.weight_decay) * new

    def projected(self, s, p, g, t) -> Any:
        """g in the subspace of this step, and m and v as they are to be in it."""
        left, right = sides(self.proj_type, p)
        due = turn(t, self.update_proj_gap, stagger=self.stagger)
        m, v, h = s.m, s.v, g
        if left:
            old, s.PL = s.PL, subspace(g.T, s.PL, due=due, old=s.PL)
            h = s.PL.T @ h
            if self.rotate:
                m, v = turned(s.PL, old, m, v, due=due, old=(m, v))
        if right:
            old, s.PR = s.PR, subspace(g, s.PR, due=due, old=s.PR)
            h = h @ s.PR
            if self.rotate:
                m, v = (x.T for x in turned(s.PR, old, m.T, v.T, due=due, old=(m.T, v.T)))
        return h, m, v


@matrix_op("n k, n k, k j, k j -> k j, k j")
def turned(new, old, m, v):
    """Moments in a new subspace: a vector of the old one is what it has of the new, and squares add up."""
    r = new.mT @ old
    return r @ m, r**2 @ v
