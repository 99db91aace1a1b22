"""Eigenvectors of symmetric matrices, and a basis that follows them from step to step."""

import torch
from torch import Tensor

from ravine.words import matrix_op


def eigh(a: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (…, n), from the lowest, and eigenvectors (…, n, n) of symmetric matrices (…, n, n).

    Where LAPACK does not converge it is asked again in float64. A matrix with a NaN or an infinity has NaN everywhere,
    as elementwise work would leave it, and the others of a stack are what they are alone.
    """
    fine = a.isfinite().all(-1).all(-1)[..., None, None]
    asked = torch.where(fine, a, torch.eye(a.shape[-1], dtype=a.dtype, device=a.device))
    try:
        w, q = torch.linalg.eigh(asked)
    except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
        w, q = (x.to(a.dtype) for x in torch.linalg.eigh(asked.double()))
    return torch.where(fine[..., 0], w, torch.nan), torch.where(fine, q, torch.nan)


@matrix_op("n n -> n n")
def basis(a: Tensor) -> Tensor:
    """Orthonormal eigenvectors (…, n, n) of positive semidefinite matrices, those of the largest eigenvalues first.

    Eigenvectors of 0 are any basis of the null space, and rounding would choose it: each machine, and each order of
    summation, another. Here they are those of diag(1 … n) within the null space, in its order. So an index whose row
    and column are 0, as those that fill up a block, is a direction by itself. The sign of each makes Σ i qᵢ positive.
    """
    w, q = eigh(a)
    n = a.shape[-1]
    if not n:
        return q
    null = w <= 4 * n * torch.finfo(a.dtype).eps * w[..., -1:].abs()
    place = torch.arange(1, n + 1, dtype=a.dtype, device=a.device)
    inside = q * null[..., None, :]
    within = inside.mT @ (place[:, None] / n * inside)
    q = q @ eigh(within + torch.diag_embed(torch.where(null, 0.0, -1.0 - place)))[1]
    return torch.where((place[:, None] * q).sum(-2, keepdim=True) < 0, -q, q)


def follow(a: Tensor, q: Tensor, sort: bool = True) -> Tensor:
    """The basis q (…, n, n) after one power iteration towards the eigenvectors of a, orthogonalised by a QR.

    Columns are orthogonalised from the largest qᵀaq to the smallest, or as they stand where `sort` is False, and each
    stays where it was: what is kept for a column need not move. Where qᵀaq is no more than rounding, a q is rounding
    too, and q itself is taken.
    """
    if not a.shape[-1]:
        return q
    moved = a @ q
    size = (q * moved).sum(-2)
    some = size > 4 * torch.finfo(a.dtype).eps * size.amax(-1, keepdim=True)
    ranks = torch.where(some, size if sort else 1.0, 0.0)
    order = ranks.argsort(dim=-1, descending=True, stable=True)[..., None, :].expand_as(q)
    moved = torch.where(some[..., None, :], moved, q)
    return torch.empty_like(q).scatter(-1, order, torch.linalg.qr(moved.gather(-1, order)).Q)
