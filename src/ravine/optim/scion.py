"""Scion."""

from typing import Literal

import torch

from ravine.matrix import Polynomials, orthogonal
from ravine.optimizer import Block, Optimizer, Triple
from ravine.words import col_total, cols, is_vector, lerp, maximum, norm, places, row_total, rows, sign, sqrt, zeros


class Scion(Optimizer):
    """Steps of one length in the norm that fits each layer, and weights that stay in a ball of that norm.

        d ← (1 − α) d + α g
        p ← (1 − lr) p − lr ρ u(d)     (unconstrained: p ← p − lr ρ u(d))

    u is the steepest direction of length 1 in a norm, which each group says for its r × c matrices (out × in), and ρ
    is `scale`, the radius of the ball in which the weights stay:

        norm="spectral"        √(r / c) NS(d)                     hidden layers; with k places of a kernel, divided by k
        norm="spectral_max"    max(1, √(r / c)) NS(d)             a first layer that sees images
        norm="columns"         each column √r d / ‖d‖             a first layer that sees one-hot vectors
        norm="rows"            each row d / (‖d‖ √c)              a last layer
        norm="sign"            sign(d) / c                        a last layer, and one that it shares its weights with
        norm="auto"            spectral; of vectors columns, which divides by the root mean square

    NS is Newton–Schulz as in `Muon`, which has its polynomials and blocks too. transpose=True is for weights that are
    kept as in × out, as those of nn.Embedding are: norm="columns" then has each row of the table, a word's, at
    √c d / ‖d‖. normalized=True divides columns by c, normalized=False leaves the division by c, or by √c, out of the
    others. ε is added to the length that rows and columns are divided by.

    One Scion serves all layers, by groups:

        >>> import torch, ravine
        >>> model = torch.nn.ModuleDict({"hidden": torch.nn.Linear(8, 8), "head": torch.nn.Linear(8, 100, bias=False)})
        >>> opt = ravine.Scion(
        ...     [
        ...         {"params": model["hidden"].parameters(), "scale": 50.0},
        ...         {"params": model["head"].parameters(), "scale": 3000.0, "norm": "sign"},
        ...     ],
        ...     lr=2**-12,
        ... )

    These are the authors' radii for GPT-2 with shared embedding and head; for an image network they take 8 and 128.
    Weights should begin at the size of their ball, and activations keep it (√2 · relu): the authors begin a spectral
    layer with torch.nn.init.orthogonal_(w, gain=ρ √(r / c)), a sign layer with ±ρ / c, and vectors with 0.

    α is the weight of the new gradient, as in the paper: the authors' code calls it momentum, where others mean 1 − α
    by that word, and its default there, 1, averages nothing; they advise 0.1, or 0.5 for short runs. u is of d and not
    of g, which one port took. lr is γ: without `unconstrained` it pulls the weights to 0 as a decay of 1 would, and
    weight decay of your own comes on top. Where they say BiasRMS, say columns. Their spectral convolution is Conv2d's
    with k × k places; here k is counted for any kernel, and with blocks= each matrix has its own √(r / c).

    Use it for large models, where radii and rates found with a narrow one serve a wide one; lr goes to 0 on schedule.

    Pethick et al. 2025, Algorithms 1 and 2    https://arxiv.org/abs/2502.07529
    """

    papers = ("pethick2025scion", "jordan2024muon")
    ranges = {"alpha": "(0, 1]", "ns_coefficients": "(-inf, inf)"}

    lr: float | torch.Tensor = 1e-3
    alpha: float = 0.1
    scale: float = 1.0
    norm: Literal["auto", "spectral", "spectral_max", "columns", "rows", "sign"] = "auto"
    normalized: bool | None = None
    transpose: bool = False
    unconstrained: bool = False
    eps: float = 1e-8
    ns_coefficients: Triple = (3.4445, -4.7750, 2.0315)
    ns_steps: int = 5
    polynomials: Polynomials = "given"
    precision: Literal["float32", "bf16"] = "float32"
    blocks: Block | None = None

    def init(self, s, p):
        s.d = zeros(p)

    def update(self, s, p, g, t):
        s.d = lerp(s.d, g, self.alpha)
        kept = p if self.unconstrained else (1 - self.lr) * p
        return kept - self.lr * self.scale * self.steepest(p, s.d)

    def steepest(self, p, d):
        """The direction of length 1 along which <d, u> grows most."""
        kind = self.norm if self.norm != "auto" else "columns" if is_vector(p) else "spectral"
        transpose = self.transpose and not is_vector(p)
        r, c = (cols(p), rows(p)) if transpose else (rows(p), cols(p))
        divided = self.normalized if self.normalized is not None else kind != "columns"
        if kind == "sign":
            return sign(d) / c if divided else sign(d)
        if kind in ("columns", "rows"):
            size = self.lengths(p, d, (kind == "columns") != transpose)
            if kind == "columns":
                size = size / sqrt(r) * c if divided else size / sqrt(r)
            elif divided:
                size = size * sqrt(c)
            return d / (size + self.eps)
        named = {"polynomials": self.polynomials, "precision": self.precision}
        o = orthogonal(d, given=self.ns_coefficients, steps=self.ns_steps, **named)
        k = places(p) if self.blocks is None else 1
        r, c = (r / k, c) if transpose else (r, c / k)
        scale = (sqrt(r / c) if divided else sqrt(r)) / k
        return (maximum(1, scale) if kind == "spectral_max" else scale) * o

    def lengths(self, p, d, of_columns):
        """The length of each column, or of each row."""
        if is_vector(p) and of_columns:
            return norm(d)
        return sqrt(col_total(d**2) if of_columns else row_total(d**2))
