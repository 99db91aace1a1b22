"""AdamP and SGDP."""

import torch

from ravine.optimizer import Optimizer, Pair
from ravine.words import abs, cols, is_vector, maximum, norm, numel, row_total, sqrt, total, where, zeros


def projected(p, g, d, delta, eps):
    """(d without its part along the weights, 1) where their length does not matter, else (d, 0).

    cos(p, g) < δ / √(size of p) tells such weights: in every row (channel), or else in the tensor as a whole.
    """
    if is_vector(p):
        return d, 0
    row_p, row_g = sqrt(row_total(p**2)), sqrt(row_total(g**2))
    row_cos = abs(row_total(p * g)) / (maximum(row_p, eps) * maximum(row_g, eps))
    cos = abs(total(p * g)) / (maximum(norm(p), eps) * maximum(norm(g), eps))
    row_unit, unit = p / (row_p + eps), p / (norm(p) + eps)
    by_row = total(where(row_cos < delta / sqrt(cols(p)), 0, 1)) <= 0
    as_whole = cos < delta / sqrt(numel(p))
    along = where(by_row, row_unit * row_total(row_unit * d), where(as_whole, unit * total(unit * d), 0))
    return d - along, where(by_row, 1, where(as_whole, 1, 0))


class AdamP(Optimizer):
    """AdamW that takes no step along weights whose length does not matter, so that they do not grow without need.

        m ← β₁ m + (1 − β₁) g              m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²             v̂ = v / (1 − β₂ᵗ)
        d = m̂ / (√v̂ + ε)                   nesterov: (β₁ m + (1 − β₁) g) / (1 − β₁ᵗ) in the place of m̂
        w = p / (‖p‖ + ε)                  of each row (channel) of p, or of p as a whole
        q = d − (w · d) w                  where |cos(p, g)| < δ / √(size of p),    else   q = d
        p ← (1 − lr λ) p − lr q            with λ times wd_ratio where projected

    Weights before a normalization are such: their gradient is square to them. The test is made for the rows, and all
    must pass; if not, for the whole tensor. Tensors of fewer than two dimensions are never projected. The paper
    writes the test of one weight vector; the order rows, then whole, is that of the authors' code.

    Use it for networks with batch or layer normalization after most weights, in the place of AdamW.

    Heo et al. 2021, Algorithm 2    https://arxiv.org/abs/2006.08217
    """

    papers = ("heo2021adamp",)

    lr: float | torch.Tensor = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    delta: float = 0.1
    wd_ratio: float = 0.1
    nesterov: bool = False

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t):
        b1, b2 = self.betas
        s.m = b1 * s.m + (1 - b1) * g
        s.v = b2 * s.v + (1 - b2) * g**2
        m = b1 * s.m + (1 - b1) * g if self.nesterov else s.m
        d = (m / (1 - b1**t)) / (sqrt(s.v / (1 - b2**t)) + self.eps)
        q, done = projected(p, g, d, self.delta, self.eps)
        if self.weight_decay:
            p = (1 - self.lr * self.weight_decay * (1 + done * (self.wd_ratio - 1))) * p
        return p - self.lr * q


class SGDP(Optimizer):
    """SGD with momentum that takes no step along weights whose length does not matter.

        m ← μ m + (1 − τ) g                d = m    (nesterov: g + μ m)
        w = p / (‖p‖ + ε)                  of each row (channel) of p, or of p as a whole
        q = d − (w · d) w                  where |cos(p, g)| < δ / √(size of p),    else   q = d
        p ← (1 − lr λ / (1 − μ)) p − lr q  with λ times wd_ratio where projected

    λ / (1 − μ) is the authors' code, since m sums as much: the decay is that of SGD with λ in its gradient. Without
    nesterov that code projects m itself, in place, so that its memory loses what the paper keeps; here it is kept. The
    test is that of `AdamP`: for the rows, then for the whole tensor, and never for fewer than two dimensions.

    Use it in the place of SGD with momentum for convolutional networks with batch normalization.

    Heo et al. 2021, Algorithm 1    https://arxiv.org/abs/2006.08217
    """

    papers = ("heo2021adamp",)
    ranges = {"momentum": "[0, 1)", "dampening": "(-inf, inf)"}

    lr: float | torch.Tensor = 0.1
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    eps: float = 1e-8
    delta: float = 0.1
    wd_ratio: float = 0.1

    def init(self, s, p):
        if self.momentum:
            s.m = zeros(p)

    def update(self, s, p, g, t):
        m = (1 - self.dampening) * g
        if self.momentum:
            s.m = m = self.momentum * s.m + m
        d = g + self.momentum * m if self.nesterov else m
        q, done = projected(p, g, d, self.delta, self.eps)
        if self.weight_decay:
            decay = self.weight_decay / (1 - self.momentum)
            p = (1 - self.lr * decay * (1 + done * (self.wd_ratio - 1))) * p
        return p - self.lr * q
