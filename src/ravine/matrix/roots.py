"""Inverse roots of symmetric matrices."""

import torch
from torch import Tensor

from ravine.compile.products import symmetric
from ravine.matrix.eigen import eigh
from ravine.words import matrix_op


@matrix_op("n n -> n n")
def inverse_root(a: Tensor, eps: float, exponent: float, inside: bool = True) -> Tensor:
    """(a + ε I)^(−exponent) of positive semidefinite matrices (…, n, n): 0.25 is the inverse fourth root.

    Eigenvalues below 0, which rounding makes, count as 0. `inside=False` is (a^exponent + ε I)^(−1), which is another
    matrix. With ε = 0 directions of the eigenvalue 0 are left out, as in a pseudo-inverse. NaN where a is not finite.
    """
    w, q = eigh(a)
    w = w.clamp(min=0)
    below = (w + eps) ** exponent if inside else w**exponent + eps
    return symmetric(q * torch.where(below == 0, 0.0, 1 / below)[..., None, :], q.mT)
