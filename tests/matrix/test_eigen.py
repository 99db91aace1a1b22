"""Bases of eigenvectors."""

import torch

from ravine.matrix import basis


def test_the_sign_of_an_eigenvector_is_not_left_to_lapack():
    """Rounding chooses it, and with it the sign of what a rule keeps in a basis."""
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = basis(x @ x.T)
    assert (torch.arange(1.0, 7.0).double() @ q >= 0).all()
    torch.testing.assert_close(basis(x @ x.T * (1 + 1e-13)), q)
