"""The polar factor U Vᵀ of a matrix U S Vᵀ by products alone, as Newton and Schulz iterate."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ravine.compile.products import added, symmetric
from ravine.matrix.polynomials import JORDAN, MODULA, POLISH, TURBO, Polynomial, cans, polar_express
from ravine.words import matrix_op

Polynomials = Literal["given", "modula", "polar_express", "cans", "aol", "deepseek"]


def newton_schulz(
    x: Tensor,
    polynomials: tuple[Polynomial, ...],
    eps: float = 1e-7,
    *,
    aol: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """X ← a X + (b X Xᵀ + c (X Xᵀ)²) X for each (a, b, c), from X / max(‖X‖, ε): near U Vᵀ, for stacks (…, r, c).

        >>> import torch
        >>> from ravine.matrix import newton_schulz
        >>> from ravine.matrix.polynomials import polar_express
        >>> x = torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, -0.5]])
        >>> [[round(v, 3) + 0.0 for v in row] for row in newton_schulz(x, polar_express(8)).tolist()]
        [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]

    Each singular value is what the polynomials make of it, whatever the others are. Rows are the shorter side, by
    transposing. The norm is summed in float64, so that no finite gradient overflows; where it is below ε, as for a
    gradient of zeros, the result is short and finite. x is never written to.
    aol: rows are divided by √(Σⱼ |X Xᵀ|ᵢⱼ) too, which bounds the spectrum more closely than the norm does; the
        result is then the polar factor of the rescaled rows (Boissin et al. 2025).
    dtype: to compute in, after normalizing; None is the type of x.
    """
    shape = x.shape
    x = x if x.dim() == 2 else x.flatten(0, -3)
    tall = x.shape[-2] > x.shape[-1]
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True, dtype=torch.float64).clamp(min=eps)
    y = (x.mT if tall else x) / norm.to(x.dtype)
    y = y if dtype is None else y.to(dtype)
    if aol:
        sums = (y @ y.mT).abs().sum(-1, keepdim=True)
        y = y * sums.clamp(min=torch.finfo(y.dtype).tiny).rsqrt()
    at_once = together(y)
    for i in range(0, len(polynomials), at_once):
        y = applied(y, polynomials[i : i + at_once])
    return (y.mT if tall else y).to(x.dtype).reshape(shape)


def together(x: Tensor) -> int:
    """How many polynomials are applied to one X Xᵀ, without a new X between them.

    Where X has many more columns than rows, products of X are dear and those of X Xᵀ cheap. But the small eigenvalues
    of X Xᵀ drown in the rounding of the large ones, and polynomials raise them. Three in float32 leave 2 to 4 times
    the error, which is 1e-5; two in bf16 leave about the error that torch's way has.
    """
    if x.dim() > 2 or x.shape[-2] < 128 or x.shape[-1] < 2 * x.shape[-2]:
        return 1
    return 2 if x.dtype.itemsize < 4 else 3


def applied(x: Tensor, polynomials: tuple[Polynomial, ...]) -> Tensor:
    """p₂(p₁(X)) = P₂ P₁ X with P = a I + b R + c R², where R is X Xᵀ, and P R P for the next."""
    gram, made = symmetric(x, x.mT), None
    for i, (a, b, c) in enumerate(polynomials):
        inner = symmetric(gram, gram, gram, beta=b, alpha=c) if c else gram * b
        if len(polynomials) == 1:
            return added(inner, x, x, beta=a)
        if made is None:
            made = inner.clone()
            made.diagonal().add_(a)
        else:
            made = symmetric(inner, made, made, beta=a)
        if i + 1 < len(polynomials):
            half = symmetric(gram, inner, gram, beta=a)
            gram = symmetric(inner, half, half, beta=a)
    return x if made is None else made @ x


def chosen(name: Polynomials, steps: int, given: Polynomial = JORDAN) -> tuple[Polynomial, ...]:
    """The polynomials of that name, for so many steps.

    Those of "deepseek" are ten and those of "aol" four, always. Of "cans" there are half as many more, since a cubic
    has two products of matrices where a quintic has three.
    """
    if name == "polar_express":
        return polar_express(steps)
    if name == "cans":
        return cans((3 * steps + 1) // 2)
    if name == "aol":
        return TURBO
    if name == "deepseek":
        return (JORDAN,) * 8 + (POLISH,) * 2
    return (MODULA if name == "modula" else given,) * steps


@matrix_op("r c -> r c")
def orthogonal(
    x: Tensor,
    eps: float = 1e-7,
    given: Polynomial = JORDAN,
    steps: int = 5,
    polynomials: Polynomials = "given",
    precision: Literal["float32", "bf16"] = "float32",
) -> Tensor:
    """Newton–Schulz of the matrices of x by the polynomials of that name."""
    dtype = torch.bfloat16 if precision == "bf16" else None
    return newton_schulz(x, chosen(polynomials, steps, given), eps, aol=polynomials == "aol", dtype=dtype)
