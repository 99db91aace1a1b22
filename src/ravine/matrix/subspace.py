"""The subspace of the largest singular values of matrices, as one basis that rounding does not choose."""

import torch
from torch import Tensor

from ravine.words import matrix_op


@matrix_op("r c, c k -> c k")
def subspace(a: Tensor, old: Tensor) -> Tensor:
    """Orthonormal bases (…, c, k) of what a (…, r, c) sees most: right singular vectors, of the largest values first.

    A singular vector has two signs, and each LAPACK has its own: here it points to where the vector of `old` at its
    place does, so that numbers kept for it stay right, and its largest entry is positive where `old` is 0. Beyond the
    rank of a they are a fixed sequence, made orthogonal: of the singular value 0 any vectors are, and rounding would
    choose. A matrix with a NaN or an infinity has NaN everywhere, and others of a stack are what they are alone.
    """
    r, c, k = *a.shape[-2:], old.shape[-1]
    if not k:
        return torch.zeros_like(old)
    fine = a.isfinite().all(-1).all(-1)[..., None, None]
    _, size, found = torch.linalg.svd(torch.where(fine, a, 0.0), full_matrices=False)
    q, size = found.mT[..., :k], size[..., :k]
    live = size > 4 * max(r, c) * torch.finfo(a.dtype).eps * size[..., :1]
    place = torch.arange(1, c + 1, dtype=torch.float64, device=a.device)
    fixed = torch.sin(place[:, None] ** 2 * place[:k] ** 0.5).to(a.dtype)  # of no matrix that one meets
    q = torch.linalg.qr(torch.where(live[..., None, :], q, fixed)).Q
    along = (q * old).sum(-2, keepdim=True)
    largest = q.gather(-2, q.abs().argmax(-2, keepdim=True))
    sign = torch.where(torch.where(along == 0, largest, along) < 0, -1.0, 1.0).to(a.dtype)
    return torch.where(fine, sign * q, torch.nan)
