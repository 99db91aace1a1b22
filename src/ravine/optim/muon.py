"""Muon."""

from dataclasses import KW_ONLY
from typing import Literal

import torch

from ravine.matrix import Polynomials, orthogonal
from ravine.optimizer import Block, Optimizer, Triple
from ravine.words import cols, decayed, lerp, maximum, rows, sqrt, zeros


class Muon(Optimizer):
    """Momentum of which every singular value is made about 1: a step of one length in all directions of a matrix.

        m ← μ m + (1 − μ) g
        u = (1 − μ) g + μ m     (nesterov=False: u = m)
        p ← (1 − lr λ) p − lr s NS(u),    NS(U S Vᵀ) ≈ U Vᵀ

    NS is Newton–Schulz: ns_steps times X ← a X + (b X Xᵀ + c (X Xᵀ)²) X with (a, b, c) = ns_coefficients, from
    u / max(‖u‖, ε). s is √max(1, r / c) of the r × c matrix, as in Keller Jordan's code; with
    adjust_lr_fn="match_rms_adamw" 0.2 √max(r, c), as in Moonlight, for the rate and the decay of AdamW.
    This is torch's form. torch iterates in bf16 whatever the weights are: precision="bf16".

    polynomials="given" are ns_coefficients, which bring singular values above a hundredth of ‖u‖ between 0.68 and 1.14.
    "polar_express" has the best polynomial of each step, "cans" half as many more steps of the best cubics, "modula"
    one that leaves 1 at 1, "aol" four steps after a rescaling of the rows (Turbo-Muon), "deepseek" Jordan's eight times
    and two that polish; the last two have their own number of steps.

    A tensor of more dimensions is one matrix, its first dimension by all others: the kernel of a convolution is
    out × (in·k·k), and s is of that matrix. blocks=Experts() makes a matrix of the last two dimensions, Heads(n) of
    every head, QKV() three of one tensor, each orthogonal by itself and with its own s.

    Use it for the matrices inside a network, and another rule for vectors, embeddings and the head:
    ravine.create("muon", model) makes that choice. A vector that it is given is a matrix of one column, whose step is
    as long whatever g is; torch refuses it. 0.02 is the usual lr; with "match_rms_adamw" take AdamW's lr and decay.

    Jordan et al. 2024    https://kellerjordan.github.io/posts/muon/
    Liu et al. 2025, "match_rms_adamw"    https://arxiv.org/abs/2502.16982
    Amsel et al. 2025, "polar_express"    https://arxiv.org/abs/2505.16932
    Grishina et al. 2025, "cans"    https://arxiv.org/abs/2506.10935
    Boissin et al. 2025, "aol"    https://arxiv.org/abs/2512.04632
    """

    papers = (
        "jordan2024muon",
        "liu2025moonlight",
        "amsel2025polar",
        "grishina2025cans",
        "boissin2025turbo",
    )
    twin = torch.optim.Muon
    names = {"m": "momentum_buffer"}
    ranges = {"momentum": "[0, 1)", "ns_coefficients": "(-inf, inf)"}
    matrices = True
    real_only = True

    lr: float | torch.Tensor = 1e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: Triple = (3.4445, -4.7750, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None
    _: KW_ONLY
    polynomials: Polynomials = "given"
    precision: Literal["float32", "bf16"] = "float32"
    blocks: Block | None = None

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        s.m = lerp(g, s.m, self.momentum)
        u = lerp(g, s.m, self.momentum) if self.nesterov else s.m
        o = orthogonal(u, self.eps, self.ns_coefficients, self.ns_steps, self.polynomials, self.precision)
        if self.adjust_lr_fn == "match_rms_adamw":
            scale = 0.2 * sqrt(maximum(rows(p), cols(p)))
        else:
            scale = sqrt(maximum(1, rows(p) / cols(p)))
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        return p - self.lr * scale * o
