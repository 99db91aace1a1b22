"""MARS-M."""

from typing import Literal

import torch

from ravine.matrix import Polynomials, orthogonal
from ravine.optimizer import Block, Optimizer, Triple
from ravine.words import cols, decayed, maximum, norm, rows, sqrt, zeros


class MARSM(Optimizer):
    """Muon of gradients from which part of the noise is taken, by comparing each with the one before.

        c = g + γ μ / (1 − μ) (g − g₋₁)         g₋₁: the gradient of the last step, 0 at first
        m ← μ m + (1 − μ) c / max(1, ‖c‖)
        p ← (1 − lr λ) p − lr 0.2 √max(r, c) NS(m)

    This is `MARS` with Muon in the place of AdamW, in the approximate form that the authors use by default; the exact
    one takes g₋₁ of this step's batch at the last step's weights, by a second backward pass. NS is Newton–Schulz as in
    `Muon`, which has its polynomials and blocks too, and the scale of an r × c matrix is Moonlight's, for AdamW's rate
    and decay. In the paper c = g at the first step; in the authors' code, and here, g₋₁ = 0 there.

    The clip is of the whole tensor, and always there: the authors' code has a switch for it, clip_c=False, which it
    does not read. That code keeps g₋₁ as p.grad itself: where a loop zeroes gradients in place, g − g₋₁ is 0 there at
    every step, and never is here.

    Use it in the place of Muon for language models, where memory for one more gradient is to spare.
    ravine.create("mars-m", model) gives it the matrices inside a model and AdamW the rest. A vector is a matrix of one
    column.

    Liu, Yuan & Gu 2025, Algorithm 3    https://arxiv.org/abs/2510.21800
    """

    papers = ("liu2025marsm", "yuan2025mars", "jordan2024muon")
    ranges = {"momentum": "[0, 1)", "ns_coefficients": "(-inf, inf)"}
    matrices = True

    lr: float | torch.Tensor = 1e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    gamma: float = 0.025
    ns_coefficients: Triple = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    polynomials: Polynomials = "given"
    precision: Literal["float32", "bf16"] = "float32"
    blocks: Block | None = None

    def init(self, s, p):
        s.m, s.last = zeros(p), zeros(p)

    def update(self, s, p, g, t):
        mu = self.momentum
        c = g + self.gamma * mu / (1 - mu) * (g - s.last)
        c = c / maximum(1, norm(c))
        s.last = g
        s.m = mu * s.m + (1 - mu) * c
        named = {"polynomials": self.polynomials, "precision": self.precision}
        o = orthogonal(s.m, given=self.ns_coefficients, steps=self.ns_steps, **named)
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        return p - self.lr * 0.2 * sqrt(maximum(rows(p), cols(p))) * o
