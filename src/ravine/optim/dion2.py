"""Dion2."""

import math
from typing import Literal

import torch
from torch import Tensor

from ravine.matrix import Polynomials, orthogonal
from ravine.optimizer import Block, Optimizer, Triple
from ravine.words import cols, decayed, matrix_op, maximum, rows, sqrt, zeros


@matrix_op("r c -> r c, r c")
def part(
    m: Tensor,
    fraction: float,
    kept: float,
    steps: int,
    given: tuple[float, float, float],
    polynomials: Polynomials,
    precision: Literal["float32", "bf16"],
) -> tuple[Tensor, Tensor]:
    """Newton–Schulz of the longest rows of m, or columns where these are fewer, in a matrix of zeros; and m with these
    rows times `kept`."""
    wide = m.mT if m.shape[-2] > m.shape[-1] else m
    longest = wide.abs().sum(-1).argsort(dim=-1, descending=True, stable=True)
    chosen = longest[..., : max(1, math.ceil(fraction * wide.shape[-2]))].sort().values
    at = chosen[..., None].expand(*chosen.shape, wide.shape[-1])
    x = wide.gather(-2, at)
    o = orthogonal(x, given=given, steps=steps, polynomials=polynomials, precision=precision)
    u, left = torch.zeros_like(wide).scatter(-2, at, o), wide.scatter(-2, at, kept * x)
    return (u.mT, left.mT) if wide is not m else (u, left)


class Dion2(Optimizer):
    """Muon of a part of the momentum: its longest rows or columns are made orthogonal, and only they decay.

        M ← M + g
        K: ⌈fraction · n⌉ of the n rows of M, or of its columns where these are fewer, with the largest Σ |M|
        p ← (1 − lr λ) p,   p_K ← p_K − lr s NS(M_K)
        M_K ← μ M_K

    What is not chosen stays in M until it is: M gives back what a step has left out. NS is Newton–Schulz as in `Muon`,
    which has its polynomials and blocks too; μ is `ef_decay`. s is √(r / c) of the whole r × c matrix, as in the
    authors' code; adjust_lr="rms_norm" is 0.2 √max(r, c), for AdamW's rates, and None is 1. fraction=1 is Muon without
    Nesterov's momentum. Of equally long rows the first are chosen.

    On several processes the rows are chosen from the whole matrix, so a run is that of one process. The authors' code
    lets each shard choose its own by default (selection_scope="local"), and takes rows of tall matrices too where these
    are sharded: its steps depend on how many processes there are. The paper draws rows at random as well, which is not
    here.

    Use it in the place of Muon for large matrices, where a quarter of the rows, the default, costs much less: about
    fraction² for square ones. ravine.create("dion2", model) gives it the matrices inside a model and AdamW the rest. A
    vector is one column.

    Ahn, Amsel & Langford 2025    https://arxiv.org/abs/2512.16928
    """

    papers = ("ahn2025dion2", "amsel2025polar")
    ranges = {"fraction": "(0, 1]", "ef_decay": "[0, 1]", "ns_coefficients": "(-inf, inf)"}
    matrices = True

    lr: float | torch.Tensor = 0.01
    weight_decay: float = 0.01
    fraction: float = 0.25
    ef_decay: float = 0.95
    adjust_lr: Literal["spectral_norm", "rms_norm"] | None = "spectral_norm"
    ns_coefficients: Triple = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    polynomials: Polynomials = "polar_express"
    precision: Literal["float32", "bf16"] = "float32"
    blocks: Block | None = None

    def init(self, s, p):
        s.M = zeros(p)

    def update(self, s, p, g, t):
        how = (self.ns_steps, self.ns_coefficients, self.polynomials, self.precision)
        o, s.M = part(s.M + g, self.fraction, self.ef_decay, *how)
        scale = 1.0
        if self.adjust_lr == "spectral_norm":
            scale = sqrt(rows(p) / cols(p))
        elif self.adjust_lr == "rms_norm":
            scale = 0.2 * sqrt(maximum(rows(p), cols(p)))
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        return p - self.lr * scale * o
