"""Products of matrices that are symmetric, at little more than half of the work."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 384  # rows: below, one product is as fast on the machines that were tried
BAND, BANDS = 128, 12  # rows of a band at least, and how many there are at most


def symmetric(a: Tensor, b: Tensor, plus: Tensor | None = None, *, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta plus + alpha a b, for what is symmetric: x xᵀ, or a product of symmetric matrices that commute.

    On a CPU large matrices are multiplied in bands of rows from the diagonal on, and the rest is mirrored: BLAS has no
    such product of bf16, and torch asks it for none. Stacks (…, n, n), small matrices, those on a GPU and those that
    autograd watches are multiplied whole.
    """
    n = a.shape[-2]
    watched = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    if a.dim() > 2 or n < SMALLEST or a.device.type != "cpu" or watched:
        if plus is None:
            return a @ b
        return (torch.addmm if a.dim() == 2 else torch.baddbmm)(plus, a, b, beta=beta, alpha=alpha)
    out, width = a.new_empty(n, n), max(BAND, -(-n // BANDS))
    for i in range(0, n, width):
        here, later = slice(i, i + width), slice(i + width, n)
        if plus is None:
            torch.mm(a[here], b[:, i:], out=out[here, i:])
        else:
            torch.addmm(plus[here, i:], a[here], b[:, i:], beta=beta, alpha=alpha, out=out[here, i:])
        out[later, here] = out[here, later].mT
    return out
