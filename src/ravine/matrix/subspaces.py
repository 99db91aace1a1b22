"""The subspace of the largest singular values of matrices, as one basis that rounding does not choose; and on which
side of a matrix, and of which rank, one is."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ravine.words import cols, matrix_op, minimum, rows

Projection = Literal["std", "reverse_std", "right", "left", "full"]


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


def sides(proj_type: Projection, p) -> tuple[bool, bool]:
    """Whether a matrix is projected on the left, and on the right."""
    if proj_type == "full":
        return True, True
    right = {"right": True, "left": False}.get(proj_type)
    if right is None:
        right = bool(rows(p) >= cols(p)) == (proj_type == "std")
    return not right, right


def low_rank(rank: int, p) -> Any:
    """The rank, or the smaller size of a matrix where that is less."""
    return minimum(rank, minimum(rows(p), cols(p)))


def whole_and_positive(name: str, hyper: Mapping[str, Any]) -> None:
    """Raise unless there is a rank, and a number of steps after which there is another subspace."""
    for k in ("rank", "update_proj_gap"):
        if hyper[k] < 1:
            raise ValueError(f"{name}: {k} is {hyper[k]}; it must be 1 or more")
