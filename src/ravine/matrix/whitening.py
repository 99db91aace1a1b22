"""Factors that whiten matrices, as PSGD fits them: for each side an upper triangular matrix or a diagonal.

Inside, a diagonal is a column (…, n, 1), and a side that has no factor has a diagonal of ones. `sides` says which there
are; a rule keeps the diagonals of matrices as vectors (…, n), and that of a vector as a column.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.compile.products import symmetric, triangular

TINY = torch.finfo(torch.float32).tiny


def whitened(x: Tensor, *factors: Tensor, sides: str) -> Tensor:
    """Qₗᵀ Qₗ x Qᵣᵀ Qᵣ of matrices (…, r, c)."""
    for q in both(x, factors, sides):
        x = times(q, times(q, x), turned=True).mT
    return x


def fitted(x: Tensor, *given: Any, sides: str, probe: bool) -> Tensor | tuple[Tensor, ...]:
    """The factors a step further towards those that whiten x. Given are noise v, the factors, the rate, the damping.

    With A = Qₗ (x + δ v) Qᵣᵀ and B = Qₗ⁻ᵀ v Qᵣ⁻¹, where δ is the damping times the mean |x|, Qₗ moves by
    triu(A Aᵀ − B Bᵀ) Qₗ over a bound of ‖A Aᵀ + B Bᵀ‖, and Qᵣ by the same of Aᵀ and Bᵀ. probe=False: v is not given,
    and these products are their means over v. Where x is 0 nothing is known, and nothing moves: a factor that is told
    of noise alone grows without end. At last both are given one size, which changes no product of them.
    """
    *arrays, rate, damping = given
    v = arrays.pop(0) if probe else None
    if not x.numel():
        return tuple(arrays) if sides == "both" else arrays[0]
    left, right = both(x, arrays, sides)
    size = x.abs().mean((-2, -1), keepdim=True)
    noise, rate = damping * size, rate * (size > 0).to(size)
    a = through(times, left, right, x if v is None else x + noise * v)
    if v is not None:
        b = through(under, left, right, v)
        pairs = [(gram(left, a), gram(left, b)), (gram(right, a.mT), gram(right, b.mT))]
    else:
        whole = [square(q) * noise**2 for q in (right, left)]  # what noise has from the other side
        back = [under(q, identity(q)) for q in (left, right)]
        pairs = [
            (gram(left, a) + whole[0] * gram(left, left), square(back[1]) * gram(left, back[0])),
            (gram(right, a.mT) + whole[1] * gram(right, right), square(back[0]) * gram(right, back[1])),
        ]
    made = [moved(q, *pair, rate) for q, pair in zip((left, right), pairs, strict=True)]
    if sides == "both":
        shift = (largest(made[1]) / largest(made[0])).sqrt()
        made = [made[0] * shift, made[1] / shift]
    made = made if sides == "both" else [made[sides == "right"]]
    kept = tuple(q.reshape(old.shape) for q, old in zip(made, arrays, strict=True))
    return kept if sides == "both" else kept[0]


def both(x: Tensor, factors: Sequence[Tensor], sides: str) -> list[Tensor]:
    """The factors of both sides, as they are inside, in the type of x: numbers of rows come in float64."""
    given = [(q[..., None] if q.dim() < x.dim() else q).to(x) for q in factors]
    none = [x.new_ones(x.shape[d], 1) for d in (-2, -1)]
    return given if sides == "both" else [given[0], none[1]] if sides == "left" else [none[0], given[0]]


def moved(q: Tensor, grown: Tensor, shrunk: Tensor, rate: Tensor) -> Tensor:
    """A factor after its step."""
    gap = grown - shrunk
    return q - rate / bound(grown + shrunk).clamp(min=TINY) * times(gap if is_diagonal(q) else torch.triu(gap), q)


def bound(a: Tensor) -> Tensor:
    """The largest number of a diagonal; of a positive semidefinite matrix a lower bound of its largest eigenvalue, by a
    step of the power method from the longest column."""
    most = a.abs().amax((-2, -1), keepdim=True)
    if is_diagonal(a):
        return most
    a = a / most.clamp(min=TINY)
    column = a.square().sum(-2, keepdim=True).argmax(-1, keepdim=True).expand(*a.shape[:-1], 1)
    x = a @ a.gather(-1, column)
    return most * length(a @ (x / length(x).clamp(min=TINY)))


def through(act: Callable[[Tensor, Tensor], Tensor], left: Tensor, right: Tensor, x: Tensor) -> Tensor:
    """Both factors at work, each from its side."""
    return act(right, act(left, x).mT).mT


def times(q: Tensor, x: Tensor, turned: bool = False) -> Tensor:
    """q x, or qᵀ x."""
    return q * x if is_diagonal(q) else triangular(q, x, turned)


def under(q: Tensor, x: Tensor) -> Tensor:
    """q⁻ᵀ x."""
    return x / q if is_diagonal(q) else torch.linalg.solve_triangular(q.mT, x, upper=False)


def gram(q: Tensor, a: Tensor) -> Tensor:
    """a aᵀ, or its diagonal where q is one."""
    return a.square().sum(-1, keepdim=True) if is_diagonal(q) else symmetric(a, a.mT)


def is_diagonal(q: Tensor) -> bool:
    """True for a column; a triangular matrix of one number is the same."""
    return q.shape[-1] == 1


def identity(q: Tensor) -> Tensor:
    """The identity as q is kept."""
    return torch.ones_like(q) if is_diagonal(q) else torch.eye(q.shape[-1], dtype=q.dtype, device=q.device).expand_as(q)


def length(x: Tensor) -> Tensor:
    """The norm of each matrix."""
    return torch.linalg.matrix_norm(x, keepdim=True)


def square(q: Tensor) -> Tensor:
    """The sum of all squares of each matrix."""
    return q.square().sum((-2, -1), keepdim=True)


def largest(q: Tensor) -> Tensor:
    """The largest number of each matrix, without a sign."""
    return q.abs().amax((-2, -1), keepdim=True)
