"""Products of matrices: added to what there is in one pass, and where symmetric at little more than half the work."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 384  # rows: below, one product is as fast on the machines that were tried
BAND, BANDS = 128, 12  # rows of a band at least, and how many there are at most


def symmetric(a: Tensor, b: Tensor, plus: Tensor | None = None, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta plus + alpha a b, for what is symmetric: x xᵀ, or a product of symmetric matrices that commute.

    On a CPU large matrices are multiplied in bands of rows from the diagonal on, and the rest is mirrored: BLAS has no
    such product of bf16, and torch asks it for none. Small matrices, those on a GPU and those that autograd watches are
    multiplied whole.
    """
    n = a.shape[-2]
    if n < SMALLEST or a.dim() > 3 or a.device.type != "cpu" or watched(a, b, plus):
        return added(a, b, plus, beta=beta, alpha=alpha)
    out = a.new_empty(*a.shape[:-1], n)
    if a.dim() > 2:
        for i, each in enumerate(out):
            fill(each, a[i], b[i], None if plus is None else plus[i], beta, alpha)
    else:
        fill(out, a, b, plus, beta, alpha)
    return out


def fill(out: Tensor, a: Tensor, b: Tensor, plus: Tensor | None, beta: float, alpha: float) -> None:
    """The same for one matrix."""
    n = len(out)
    width = max(BAND, -(-n // BANDS))
    for i in range(0, n, width):
        here, later = slice(i, i + width), slice(i + width, n)
        if plus is None:
            torch.mm(a[here], b[:, i:], out=out[here, i:])
        else:
            torch.addmm(plus[here, i:], a[here], b[:, i:], beta=beta, alpha=alpha, out=out[here, i:])
        out[later, here] = out[here, later].mT


def triangular(q: Tensor, x: Tensor, turned: bool = False) -> Tensor:
    """q x, or qᵀ x, of an upper triangular q: at half of the work where `symmetric` would save some."""
    n = q.shape[-1]
    if n < SMALLEST or q.dim() > 2 or q.device.type != "cpu" or watched(q, x):
        return (q.mT if turned else q) @ x
    out, width = x.new_empty(n, x.shape[-1]), max(BAND, -(-n // BANDS))
    for i in range(0, n, width):
        here, known = slice(i, i + width), slice(0, i + width) if turned else slice(i, n)
        torch.mm(q[known, here].mT if turned else q[here, known], x[known], out=out[here])
    return out


def added(a: Tensor, b: Tensor, plus: Tensor | None = None, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta plus + alpha a b, of matrices or of stacks of them (…, r, c)."""
    if plus is None:
        return a @ b
    if a.dim() == 2:
        return torch.addmm(plus, a, b, beta=beta, alpha=alpha)
    if a.dim() == 3:
        return torch.baddbmm(plus, a, b, beta=beta, alpha=alpha)
    return beta * plus + alpha * (a @ b)


def watched(*tensors: Tensor | None) -> bool:
    """True where autograd notes what is done to one of these."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
