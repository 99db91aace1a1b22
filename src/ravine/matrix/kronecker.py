"""A matrix G ⊗ A of two Kronecker factors, for stacks of them: how it is damped, inverted, and seen in its eigenbasis.

A is (…, c, c), or (…, c) where it is diagonal; G is (…, r, r).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.matrix.eigen import eigh


def mean_eigenvalue(x: Tensor, diagonal: bool) -> Tensor:
    """The trace over the size: a number for each matrix of a stack."""
    return (x if diagonal else x.diagonal(dim1=-2, dim2=-1)).mean(-1)


def damped_inverses(a: Tensor, g: Tensor, damping: float, diagonal: bool = False) -> tuple[Tensor, Tensor]:
    """(A + π √λ I)⁻¹ and (G + √λ / π I)⁻¹, with π² the mean eigenvalue of A over that of G.

    Their product stands for (G ⊗ A + λ I)⁻¹ (Martens & Grosse 2015, section 6.3). What is given is left as it was. A
    factor of zeros has π = 1.
    """
    over, under = mean_eigenvalue(a, diagonal), mean_eigenvalue(g, False)
    pi = torch.where((over > 0) & (under > 0), over / under, 1.0).sqrt()[..., None]
    first, second = pi * damping**0.5, damping**0.5 / pi
    return 1 / (a + first) if diagonal else inverse(a, first), inverse(g, second)


def inverse(x: Tensor, damping: Tensor) -> Tensor:
    """(x + d I)⁻¹ of positive semidefinite matrices; without damping a pseudo-inverse."""
    damped = x + torch.diag_embed(damping.expand(x.shape[:-1]))
    if damping.all():
        root, failed = torch.linalg.cholesky_ex(damped)
        if not failed.any():
            return torch.cholesky_inverse(root)
    w, q = eigh(damped)
    least = 4 * torch.finfo(x.dtype).eps * x.shape[-1] * w[..., -1:]
    return (q * torch.where(w > least, 1 / w, 0.0)[..., None, :]) @ q.mT


def into(x: Tensor, qa: Tensor | None, qg: Tensor) -> Tensor:
    """Qgᵀ x Qa, with None for a basis that is the axes."""
    x = qg.mT @ x
    return x if qa is None else x @ qa


def out_of(x: Tensor, qa: Tensor | None, qg: Tensor) -> Tensor:
    """Qg x Qaᵀ."""
    x = qg @ x
    return x if qa is None else x @ qa.mT


def moved(v: Tensor, old: Tensor | None, new: Tensor | None) -> Tensor:
    """Second moments (…, r, c) of coordinates that are independent, in another basis of the columns."""
    return v if old is None or new is None else v @ (old.mT @ new) ** 2
