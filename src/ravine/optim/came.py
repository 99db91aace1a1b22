"""CAME."""

import torch

from ravine.optimizer import Optimizer, Pair, Triple
from ravine.words import (
    col_total,
    cols,
    decayed,
    is_vector,
    matrix_total,
    maximum,
    numel,
    per_col,
    per_row,
    row_total,
    rows,
    sqrt,
    total,
    zeros,
)


class CAME(Optimizer):
    """Adafactor with momentum, which steps further where the last updates have agreed with the momentum.

        R ← β₂ R + (1 − β₂) mean of g² + ε₁ in each row               C ← the same of each column
        u = g / √(R C / mean(R))              û = u / max(1, RMS(u) / d)
        m ← β₁ m + (1 − β₁) û
        R' ← β₃ R' + (1 − β₃) mean of (û − m)² + ε₂ in each row       C' ← the same of each column
        p ← (1 − lr λ) p − lr m / √(R' C' / mean(R'))

    d is clip_threshold. As in the authors' code: vectors keep a second moment for each element and step by lr m, with
    no confidence; no average is corrected for its zero start, so the first u are long and d cuts them to size; and the
    first steps of a matrix are long, since R' and C' begin at zero (by √(1 / (1 − β₃)), 100 at the default, in units of
    how far û and m are apart): a warm-up is needed. The rate is fixed, without Adafactor's relative step. Tensors of
    more dimensions are batches of matrices in their last two.

    Use it to pretrain large language models where AdamW's memory does not fit: the authors advise half
    to nine tenths of AdamW's rate, its β₁ and β₂, and β₃ > β₂. For the smallest memory `Adafactor` has no m either.

    Luo et al. 2023, Algorithm 2    https://arxiv.org/abs/2307.02047
    """

    papers = ("luo2023came", "shazeer2018adafactor")
    ranges = {"clip_threshold": "(0, inf)"}
    view = "last"

    lr: float | torch.Tensor = 2e-4
    eps: Pair = (1e-30, 1e-16)
    clip_threshold: float = 1.0
    betas: Triple = (0.9, 0.999, 0.9999)
    weight_decay: float = 0.0

    def init(self, s, p):
        s.m = zeros(p)
        if is_vector(p):
            s.v = zeros(p, positive=True)
        else:
            s.R, s.C = per_row(0.0, positive=True), per_col(0.0, positive=True)
            s.R_res, s.C_res = per_row(0.0, positive=True), per_col(0.0, positive=True)

    def update(self, s, p, g, t):
        b1, b2, b3 = self.betas
        eps1, eps2 = self.eps
        square, vector = g**2 + eps1, is_vector(p)
        if vector:
            s.v = b2 * s.v + (1 - b2) * square
            u = g / sqrt(s.v)
        else:
            s.R = b2 * s.R + (1 - b2) * row_total(square) / cols(g)
            s.C = b2 * s.C + (1 - b2) * col_total(square) / rows(g)
            u = g / factored(s.R, s.C)
        u = u / maximum(1, sqrt(total(u**2) / numel(g)) / self.clip_threshold)
        s.m = m = b1 * s.m + (1 - b1) * u
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        if vector:
            return p - self.lr * m
        apart = (u - m) ** 2 + eps2
        s.R_res = b3 * s.R_res + (1 - b3) * row_total(apart) / cols(g)
        s.C_res = b3 * s.C_res + (1 - b3) * col_total(apart) / rows(g)
        return p - self.lr * m / factored(s.R_res, s.C_res)


def factored(R, C):
    """√(R C / mean(R)) by roots of each: in float32 the product is 0 where neither of them is."""
    return sqrt(R / (matrix_total(R) / rows(R))) * sqrt(C)
