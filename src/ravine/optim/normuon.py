"""NorMuon."""

from typing import Literal

import torch

from ravine.matrix import Polynomials, orthogonal
from ravine.optimizer import Block, Optimizer, Triple
from ravine.words import cols, decayed, lerp, matrix_total, maximum, per_row, row_total, rows, sqrt, zeros


class NorMuon(Optimizer):
    """Muon whose rows, one for each neuron, are brought to one length by a running average of their squares.

        m ← μ m + (1 − μ) g
        O = NS((1 − μ) g + μ m)     (nesterov=False: NS(m))
        v ← β₂ v + (1 − β₂) mean of O² in each row
        u = O / (√v + ε)
        p ← (1 − lr λ) p − lr s u

    NS is Newton–Schulz as in `Muon`, which has its polynomials and blocks too. s keeps the length that O has, with
    Muon's scale: s = √max(1, r / c) ‖O‖ / (‖u‖ + ε), as in the authors' code. adjust_lr_fn="match_rms_adamw" with
    nesterov=False is the paper: s = 0.2 √(r c) / (‖u‖ + ε), for the rate and the decay of AdamW. Lengths are those of
    each matrix. ε beside the length is the code's; the paper has none there. v is not corrected for its zero start,
    since s takes out what all rows have in common.

    Use it where you would use Muon: it costs one number for each row. ravine.create("normuon", model) gives it the
    matrices inside a model and AdamW the rest. A vector is a matrix of one column.

    Li et al. 2025, Algorithm 1    https://arxiv.org/abs/2510.05491
    """

    papers = ("li2025normuon", "jordan2024muon")
    ranges = {"momentum": "[0, 1)", "beta2": "[0, 1)", "ns_coefficients": "(-inf, inf)"}
    matrices = True

    lr: float | torch.Tensor = 0.02
    weight_decay: float = 0.0
    momentum: float = 0.95
    beta2: float = 0.95
    nesterov: bool = True
    eps: float = 1e-10
    ns_coefficients: Triple = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = "original"
    polynomials: Polynomials = "given"
    precision: Literal["float32", "bf16"] = "float32"
    blocks: Block | None = None

    def init(self, s, p):
        s.m, s.v = zeros(p), per_row(0.0, positive=True)

    def update(self, s, p, g, t):
        s.m = lerp(g, s.m, self.momentum)
        u = lerp(g, s.m, self.momentum) if self.nesterov else s.m
        named = {"polynomials": self.polynomials, "precision": self.precision}
        o = orthogonal(u, given=self.ns_coefficients, steps=self.ns_steps, **named)
        s.v = self.beta2 * s.v + (1 - self.beta2) * row_total(o**2) / cols(p)
        u = o / (sqrt(s.v) + self.eps)
        length = sqrt(matrix_total(u**2)) + self.eps
        if self.adjust_lr_fn == "match_rms_adamw":
            scale = 0.2 * sqrt(rows(p) * cols(p)) / length
        else:
            scale = sqrt(maximum(1, rows(p) / cols(p))) * sqrt(matrix_total(o**2)) / length
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        return p - self.lr * scale * u
