"""APOLLO."""

from collections.abc import Mapping
from typing import Any, Literal

import torch

from ravine.matrix import low_rank, sides, subspace, whole_and_positive
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import (
    col_total,
    floor,
    is_vector,
    maximum,
    norm,
    normal,
    row_total,
    scalar,
    sqrt,
    turn,
    where,
    zeros,
)


class APOLLO(Optimizer):
    """Gradient descent whose rate for each channel is Adam's, read off a small random projection of the gradient.

        P ~ N(0, 1/k), another one every `update_proj_gap` steps; k = rank
        h = g P
        m ← β₁ m + (1 − β₁) h         v ← β₂ v + (1 − β₂) h²         d = m / (√v + ε)
        u = ‖d‖ / ‖h‖ g, with the norms of each row; scale_type="tensor": those of the matrix
        u ← u / max(1, ‖u‖ / (γ n))          n ← ‖u‖, the limited one          γ = norm_growth
        p ← (1 − lr λ) (p − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) √α u)          α = scale

    For an r × c matrix P is c × k, and m and v are r × k. That is where r ≥ c; other matrices have P in front, and
    columns for channels. What is projected only says how far to go: the direction is the whole gradient's. So a rank
    of 1 with one number for the whole matrix will do, and that is APOLLO-Mini: rank=1, scale=128.0,
    scale_type="tensor", or `ravine.create("apollo-mini", …)`. proj="svd" has GaLore's singular vectors for P, which
    are kept.

    A random P is kept in no state. It is made anew in each step out of `seed`, of which turn it is, and of its size, so
    it is the same after a resume, in every process, and for all matrices of one size; the authors' code keeps it.
    norm_growth=0.0 limits nothing. A norm of 0 limits nothing either: in the authors' code a first gradient of zeros
    makes the next steps as small as 1e-8, and they grow by γ a step. ε is added to √v before it is corrected (ε-hat),
    and the decay is of the weights after the step, as in their code. storage="bf16" keeps m and v in bf16.

    A tensor of more than two dimensions is one matrix, its first dimension by all others, or a stack of them with
    blocks; the limit is of the whole tensor. Vectors have Adam's step, without a limit. ravine.create("apollo", model)
    gives it the matrices inside a model and AdamW the rest.

    Use it to pretrain a model whose moments do not fit: it is said to do as well as AdamW with the memory of SGD. The
    rates of the paper are some ten times AdamW's.

    There is another method of this name, a quasi-Newton one (Ma 2020), which is not here.

    Zhu et al. 2025, Algorithm 1    https://arxiv.org/abs/2412.05270
    The limit of growth: Chen et al. 2024    https://arxiv.org/abs/2410.01623
    """

    papers = ("zhu2025apollo", "chen2024fira")
    matrices = True

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.0
    rank: int = 256
    scale: float = 1.0
    scale_type: Literal["channel", "tensor"] = "channel"
    proj: Literal["random", "svd"] = "random"
    update_proj_gap: int = 200
    proj_type: Literal["std", "reverse_std", "right", "left"] = "std"
    norm_growth: float = 1.01
    blocks: Block | None = None

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        whole_and_positive(cls.__name__, hyper)
        if 0 < hyper["norm_growth"] < 1:
            raise ValueError(
                f"APOLLO: norm_growth is {hyper['norm_growth']:g}; it must be 1 or more, or 0 for no limit"
            )

    def init(self, s, p):
        if is_vector(p):
            s.m, s.v = zeros(p), zeros(p, positive=True)
            return
        _, right = sides(self.proj_type, p)
        k, low = low_rank(self.rank, p), "r k" if right else "k c"
        s.m, s.v = zeros(low, k=k, average=True), zeros(low, k=k, average=True)
        if self.proj == "svd":
            s.P = zeros("c k" if right else "r k", k=k)
        if self.norm_growth:
            s.n = scalar(0.0)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        h = g if is_vector(p) else self.projected(s, p, g, t)
        s.m = b1 * s.m + (1 - b1) * h
        s.v = b2 * s.v + (1 - b2) * h**2
        u = s.m / (sqrt(s.v) + self.eps)
        if not is_vector(p):
            u = sqrt(self.scale) * self.limited(s, self.factor(p, u, h) * g)
        new = p - self.lr * sqrt(1 - b2**t) / (1 - b1**t) * u
        return (1 - self.lr * self.weight_decay) * new

    def projected(self, s, p, g, t) -> Any:
        """g in k dimensions, on the side of the shorter ones."""
        _, right = sides(self.proj_type, p)
        k = low_rank(self.rank, p)
        if self.proj == "svd":
            due = turn(t, self.update_proj_gap)
            s.P = subspace(g if right else g.T, s.P, due=due, old=s.P)
            return g @ s.P if right else s.P.T @ g
        past = floor((t - 1) / self.update_proj_gap)
        drawn = normal("c k" if right else "k r", self.seed, past, k=k) / sqrt(k)
        return g @ drawn if right else drawn @ g

    def factor(self, p, d, h) -> Any:
        """How much longer Adam's step is than the gradient: a number for each channel, or one."""
        _, right = sides(self.proj_type, p)
        if self.scale_type == "tensor":
            return norm(d) / (norm(h) + 1e-8)
        lengths = row_total if right else col_total
        return sqrt(lengths(d**2)) / (sqrt(lengths(h**2)) + 1e-8)

    def limited(self, s, u) -> Any:
        """u, no more than γ times as long as that of the last step."""
        if not self.norm_growth:
            return u
        growth = maximum(norm(u) / (s.n + 1e-8), self.norm_growth) / self.norm_growth
        growth = where(s.n > 0, growth, 1.0)
        s.n = norm(u) / growth
        return u / growth
