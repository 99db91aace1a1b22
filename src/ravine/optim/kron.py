"""PSGD Kron."""

from collections.abc import Mapping
from typing import Any, Literal

import torch

from ravine.matrix import fitted, whitened
from ravine.optimizer import Block, Optimizer, Pair
from ravine.words import (
    cols,
    exp,
    eye,
    filled,
    is_vector,
    matrix_op,
    maximum,
    minimum,
    norm,
    normal,
    number,
    numel,
    rows,
    scalar,
    sqrt,
    total,
    where,
    zeros,
)


class Kron(Optimizer):
    """Momentum that a matrix on each side makes white; these are found by gradient descent, without an eigenvalue.

        m ← β m + (1 − β) g         m̂ = m / (1 − βᵗ)
        A = Qₗ m̂ Qᵣᵀ         B = Qₗ⁻ᵀ V Qᵣ⁻¹         E: the mean over V ~ N(0, 1)
        Qₗ ← Qₗ − lrₚ triu(A Aᵀ − E B Bᵀ) Qₗ / ‖A Aᵀ + E B Bᵀ‖         Qᵣ likewise, of Aᵀ and Bᵀ
        u = Qₗᵀ Qₗ m̂ Qᵣᵀ Qᵣ         p ← p − lr (u min(1, 1.1 / RMS(u)) + λ p)

    lrₚ is precond_lr, and Q begins at a multiple of the identity, precond_init_scale for the product of both. ‖ ‖ is a
    lower bound of the spectral norm. m̂ is shown to Q with noise, so that no direction is empty: with δ V, where δ is
    damping times the mean size of m̂. momentum_into_precond_update=False shows it g. clip=0.0 leaves out the bound 1.1.

    Q is triangular up to max_size_triangular rows or columns, and a diagonal above, so embeddings cost little.
    memory_save_mode has a diagonal for the larger side ("one_diag"), for the larger unless they are equal
    ("smart_one_diag") or for both ("all_diag"); sides="left" or "right" has one side alone. A vector has a diagonal. A
    tensor of more dimensions is one matrix, its first dimension by all others.

    Q moves where 1 / probability steps have passed since it last did. The probability is update_probability[0] for
    flat_start steps, and then falls to update_probability[1] as e^(−probability_decay · step): counted and not drawn,
    so that processes agree. (0.1, 0.1) is every ten steps.

    These are the form and the defaults of kron_torch, but for V: there it is drawn, as probe=True does it here, of the
    seed, the step and the place alone. Over the mean a step depends on the gradient alone; it takes the inverses of Q,
    dearer for a matrix that is four times as wide as high. Traps of others are a scale of 1 / mean g⁴ (HeavyBall's
    issue 55: NaN after a first gradient of zeros; here precond_init_scale=0.0 begins at (mean g⁴)^(−1/8), of the first
    that is not), and factors that grow by a tenth at each gradient of zeros: here these move none.

    Use it where you would use Adam, at a third of its rate. update_probability=(1.0, 1.0) costs most, and is best where
    gradients change fast.

    Pooladzandi & Li 2024, Algorithm 1, whitening    https://arxiv.org/abs/2402.04553
    Li 2019, triangular factors    https://arxiv.org/abs/1809.10232
    Li 2018    https://arxiv.org/abs/1512.04202
    """

    papers = ("pooladzandi2024curvature", "li2019preconditioner", "li2015preconditioned")
    ranges = {"momentum": "[0, 1)", "update_probability": "(0, 1]", "precond_lr": "[0, 2)"}

    lr: float | torch.Tensor = 3e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    precond_lr: float = 0.1
    precond_init_scale: float = 1.0
    damping: float = 2**-11.5
    update_probability: Pair = (1.0, 0.03)
    probability_decay: float = 1e-3
    flat_start: float = 500.0
    clip: float = 1.1
    max_size_triangular: int = 8192
    memory_save_mode: Literal["one_diag", "smart_one_diag", "all_diag"] | None = None
    momentum_into_precond_update: bool = True
    probe: bool = False
    sides: Literal["both", "left", "right"] = "both"
    blocks: Block | None = None

    @classmethod
    def validate(cls, hyper: Mapping[str, Any]) -> None:
        first, last = hyper["update_probability"]
        if last > first:
            raise ValueError(f"Kron: update_probability falls from {first:g} to {last:g}; the second must not be above")

    def init(self, s, p):
        s.m, s.since = zeros(p), number(0.0)
        if not self.precond_init_scale:
            s.begun = scalar(0.0)
        for name, shape in self.shapes(p).items():
            size = self.of_each(p, self.precond_init_scale) if self.precond_init_scale else 1.0
            whole = filled(p if is_vector(p) else shape, size, positive=True)
            setattr(s, name, size * eye(shape[0]) if shape in ("r r", "c c") else whole)

    def update(self, s, p, g, t):
        s.m = self.momentum * s.m + (1 - self.momentum) * g
        m = s.m / (1 - self.momentum**t)
        x = m if self.momentum_into_precond_update else g
        factors, shapes = self.begun(s, p, x), self.shapes(p)
        sides = "both" if len(shapes) > 1 else "left" if "QL" in shapes else "right"
        shown, letters = ([normal(p, self.seed, t)], "r c, r c") if self.probe else ([], "r c")
        kept = ", ".join(shapes.values())
        given = (x, *shown, *factors, self.precond_lr, self.damping)
        fit = matrix_op(f"{letters}, {kept} -> {kept}")(fitted)
        moved = fit(*given, sides=sides, probe=self.probe, due=self.due(s, t), old=factors)
        factors = moved if len(shapes) > 1 else (moved,)
        for name, q in zip(shapes, factors, strict=True):
            setattr(s, name, q)
        u = matrix_op(f"r c, {kept} -> r c")(whitened)(m, *factors, sides=sides)
        if self.clip:
            u = u * minimum(1.0, self.clip / (norm(u) / sqrt(numel(u)) + 1e-12))
        return p - self.lr * (u + self.weight_decay * p)

    def shapes(self, p) -> dict[str, str]:
        """The factors that there are: of which shape each is."""
        if is_vector(p):
            return {"QL": "r c"}
        most, save = self.max_size_triangular, self.memory_save_mode
        diagonal = "rc" if save == "all_diag" else ""
        if save in ("one_diag", "smart_one_diag"):
            diagonal = "r" if rows(p) > cols(p) else "c" if save == "one_diag" or cols(p) > rows(p) else ""
        left = "r" if "r" in diagonal or rows(p) > most else "r r"
        right = "c" if "c" in diagonal or cols(p) > most else "c c"
        return {"both": {"QL": left, "QR": right}, "left": {"QL": left}, "right": {"QR": right}}[self.sides]

    def of_each(self, p, scale):
        """What each factor has of a scale of their product."""
        return sqrt(scale) if len(self.shapes(p)) > 1 else scale

    def due(self, s, t):
        """Whether the factors move in this step, by counting."""
        first, last = self.update_probability
        probability = minimum(first, maximum(last, first * exp(-self.probability_decay * (t - 1 - self.flat_start))))
        since = s.since + 1
        due = since >= 1 / probability
        s.since = where(due, 0.0, since)
        return due

    def begun(self, s, p, x) -> tuple[Any, ...]:
        """The factors before this step."""
        factors = tuple(getattr(s, name) for name in self.shapes(p))
        if self.precond_init_scale:
            return factors
        size = norm(x) / sqrt(numel(x))
        flat = sqrt(sqrt(sqrt(total((x / size) ** 4) / numel(x))))
        first = where(s.begun > 0, 1.0, where(size > 0, 1 / (sqrt(size) * flat), 1.0))
        s.begun = where(size > 0, 1.0, s.begun)
        return tuple(self.of_each(p, first) * q for q in factors)
