"""AdaMuon."""

from typing import Literal

import torch

from ravine.matrix import Polynomials, orthogonal
from ravine.optimizer import Block, Optimizer, Pair, Triple
from ravine.words import cols, decayed, matrix_total, rows, sqrt, zeros
from ravine.words import sign as sign_of


class AdaMuon(Optimizer):
    """Muon of the signs of the momentum, divided element by element by a running root mean square of itself.

        m ← β₁ m + g
        O = NS(sign(m))
        v ← β₂ v + (1 − β₂) O²
        u = O / (√v + ε)
        p ← (1 − lr λ) p − lr 0.2 √(r c) / (‖u‖ + ε) u

    NS is Newton–Schulz as in `Muon`, which has its polynomials and blocks too; the length ‖u‖ is that of each r × c
    matrix, so that the root mean square of a step is 0.2 lr, as AdamW's is about. The paper has one β for both
    averages. ε beside ‖u‖ is the authors' code's. sign=False orthogonalizes m itself, as the paper's first version
    and the code beside it, which takes Nesterov's momentum too and corrects v for its zero start; the length takes that
    out again.

    Use it where you would use Muon, with the rate and the decay of AdamW; it costs a second moment for every element.
    ravine.create("adamuon", model) gives it the matrices inside a model and AdamW the rest. A vector is a matrix of
    one column.

    Si, Zhang & Shen 2025, Algorithm 1    https://arxiv.org/abs/2507.11005
    """

    papers = ("si2025adamuon", "jordan2024muon")
    ranges = {"ns_coefficients": "(-inf, inf)"}
    matrices = True

    lr: float | torch.Tensor = 1e-3
    weight_decay: float = 0.1
    betas: Pair = (0.95, 0.95)
    eps: float = 1e-8
    sign: bool = True
    ns_coefficients: Triple = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    polynomials: Polynomials = "given"
    precision: Literal["float32", "bf16"] = "float32"
    blocks: Block | None = None

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.m = b1 * s.m + g
        m = sign_of(s.m) if self.sign else s.m
        named = {"polynomials": self.polynomials, "precision": self.precision}
        o = orthogonal(m, given=self.ns_coefficients, steps=self.ns_steps, **named)
        s.v = b2 * s.v + (1 - b2) * o**2
        u = o / (sqrt(s.v) + self.eps)
        scale = 0.2 * sqrt(rows(p) * cols(p)) / (sqrt(matrix_total(u**2)) + self.eps)
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        return p - self.lr * scale * u
