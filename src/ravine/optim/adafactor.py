"""Adafactor."""

from dataclasses import KW_ONLY
from typing import Any, Literal

import torch

from ravine.optimizer import Optimizer
from ravine.words import (
    col_total,
    cols,
    decayed,
    is_vector,
    lerp,
    matrix_total,
    maximum,
    minimum,
    norm,
    numel,
    per_col,
    per_row,
    precision,
    row_total,
    rows,
    sqrt,
    where,
    zeros,
)


def rms(x: Any) -> Any:
    """The root of the mean square of the tensor."""
    return norm(x) / sqrt(numel(x))


class Adafactor(Optimizer):
    """Adam's second moment from row and column means alone, and steps measured in the size of the weights.

        ρ = min(lr, 1 / √t)            α = max(ε₂, RMS(p)) ρ            β₂ = 1 − t^beta2_decay
        R ← β₂ R + (1 − β₂) mean of g² in each row            C ← the same of each column
        v = R C / max(mean(R), ε₁)     (a vector keeps v itself: v ← β₂ v + (1 − β₂) g²)
        u = g / max(√v, ε₁)
        û = u / max(1, RMS(u) / d)
        p ← (1 − lr λ) p − α û

    This is torch's form, with ε₁ = None for the precision of the parameter's type. form="paper" adds ε₁ (None: 1e-30)
    to g² instead, as do tensor2tensor and fairseq, and divides by mean(R) and √v as they are. Tensors of more
    dimensions are batches of matrices in their last two, as in torch and fairseq; tensor2tensor factors matrices only.
    The paper has no learning rate: its 10⁻² is lr here. relative_step=False takes ρ = lr, scale_parameter=False α = ρ.
    It has no decay either: λ is multiplied by lr here, as in torch, where fairseq takes α. beta1 averages û, and the
    step is α times the average; tensor2tensor, fairseq and transformers average α û, so old steps keep an old rate.
    A NaN in u leaves the rest of the tensor unclipped, and a NaN in p makes α = ε₂ ρ, as in torch. AdaLomo, which frees
    each gradient as soon as the backward pass has made it, has the update of form="paper", relative_step=False.

    Use it where a second moment for every weight does not fit into memory: large transformers, with the relative step
    or with a schedule of your own and relative_step=False. AdamW is better by a little where it fits.

    Shazeer & Stern 2018, Algorithms 4 to 6    https://arxiv.org/abs/1804.04235
    """

    papers = ("shazeer2018adafactor",)
    twin = torch.optim.Adafactor
    names = {"v": "variance", "R": "row_var", "C": "col_var"}
    ranges = {"beta2_decay": "(-inf, 0]", "d": "(0, inf)", "beta1": "[0, 1)"}
    view = "last"
    real_only = True

    lr: float | torch.Tensor = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] | list[float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0
    _: KW_ONLY
    form: Literal["torch", "paper"] = "torch"
    relative_step: bool = True
    scale_parameter: bool = True
    beta1: float = 0.0

    def init(self, s, p):
        if is_vector(p):
            s.v = zeros(p, positive=True)
        else:
            s.R, s.C = per_row(0.0, positive=True), per_col(0.0, positive=True)
        if self.beta1:
            s.m = zeros(p)

    def update(self, s, p, g, t):
        eps1, eps2 = self.eps
        paper, new = self.form == "paper", t**self.beta2_decay
        if eps1 is None:
            eps1 = 1e-30 if paper else precision(p)
        rho = minimum(self.lr, 1 / sqrt(t)) if self.relative_step else self.lr
        alpha = where(rms(p) > eps2, rms(p), eps2) * rho if self.scale_parameter else rho
        square = g**2 + eps1 if paper else g**2
        if is_vector(p):
            s.v = lerp(s.v, square, new)
            root = sqrt(s.v)
        else:
            s.R = lerp(s.R, row_total(square) / cols(p), new)
            s.C = lerp(s.C, col_total(square) / rows(p), new)
            mean = matrix_total(s.R) / rows(p)
            # roots of each, since in float32 R C is 0 where neither of them is
            root = sqrt(s.R / (mean if paper else maximum(mean, eps1))) * sqrt(s.C)
        u = g / (root if paper else maximum(root, eps1))
        u = where(rms(u) > self.d, u * (self.d / rms(u)), u)
        p, _ = decayed(p, g, self.lr, self.weight_decay, True)
        if self.beta1:
            s.m = u = self.beta1 * s.m + (1 - self.beta1) * u
        return p - alpha * u
