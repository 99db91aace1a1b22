"""SPlus."""

from typing import Any

import torch

from ravine.matrix import basis
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import cols, eye, floor, is_vector, lerp, number, rows, sign, where, zeros


class SPlus(Optimizer):
    """The sign of momentum in the eigenbasis of Shampoo's factors, which may be old; an average is evaluated.

        m ← β₁ m + (1 − β₁) g
        L ← β₂ L + (1 − β₂) g gᵀ         R ← β₂ R + (1 − β₂) gᵀ g
        q ← p − lr s Qₗ sign(Qₗᵀ m Qᵣ) Qᵣᵀ          s = 2 / (r + c) for r × c
        a ← β₃ a + (1 − β₃) q
        p ← (1 − lr s λ) q
        Qₗ, Qᵣ ← eigenvectors of L and R at the steps 1, k, 2k …          k = interval

    β₃ is ema_rate, and `eval()` puts a / (1 − β₃ᵗ) into the model. A basis is used from the step after its own, the
    identity at the first. In any basis the entries are ±1, so an old one bounds the step where the roots of Shampoo
    would not. Vectors have sign(m) and s = vector_scale, the authors' nonstandard_constant. Their code takes that for
    tensors of more than two dimensions too; here these are one matrix, the first dimension by all others, or stacks of
    them with blocks. Their bound of a dimension, max_dim, is to be had with `ravine.Routed`.

    Use it for transformers where eigenvectors can be had only every hundred steps. Rates carry over between widths by
    s; that of the authors is 0.1.

    Frans, Levine & Abbeel 2025, Algorithm 1    https://arxiv.org/abs/2506.07254
    """

    papers = ("frans2025splus",)
    ranges = {"ema_rate": "[0, 1)"}

    lr: float | torch.Tensor = 1e-1
    betas: Pair = (0.9, 0.999)
    ema_rate: float = 0.999
    weight_decay: float = 1e-2
    interval: int = 100
    vector_scale: float = 1e-3
    blocks: Block | None = None

    def init(self, s, p):
        s.m, s.a, s.left = zeros(p), zeros(p), number(1.0)
        if not is_vector(p):
            s.L, s.R, s.QL, s.QR = zeros("r r"), zeros("c c"), eye("r"), eye("c")

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.m = b1 * s.m + (1 - b1) * g
        scale: Any = self.vector_scale
        if is_vector(p):
            u = sign(s.m)
        else:
            u, scale = s.QL @ sign(s.QL.T @ s.m @ s.QR) @ s.QR.T, 2 / (rows(p) + cols(p))
            since = where(t > 1, t - self.interval * floor(t / self.interval), 0)
            s.L, s.R = b2 * s.L + (1 - b2) * (g @ g.T), b2 * s.R + (1 - b2) * (g.T @ g)
            s.QL = basis(s.L, due=since < 1, old=s.QL)
            s.QR = basis(s.R, due=since < 1, old=s.QR)
        moved = p - self.lr * scale * u
        s.a = lerp(s.a, moved, 1 - self.ema_rate)
        s.left = s.left * self.ema_rate
        return (1 - self.lr * scale * self.weight_decay) * moved

    def to_eval(self, s, p):
        return where(s.left < 1, s.a / (1 - s.left), p)
