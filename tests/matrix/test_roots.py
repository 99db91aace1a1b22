"""Roots and bases against matrices that are made of known eigenvalues, none of which is 1: 1 to any power hides it."""

import pytest
import torch

from ravine.matrix import eigen
from ravine.matrix.eigen import basis, eigh, follow
from ravine.matrix.roots import inverse_root

D = torch.float64
SPECTRA = {
    "plain": [0.3, 2.0, 5.0, 70.0],
    "condition 1e12": [1e-9, 1e-3, 3.0, 1e3],
    "zero": [0.0, 0.0, 0.0, 0.0],
    "rank one": [0.0, 0.0, 0.0, 9.0],
    "huge": [2e60, 3e61, 5e62, 7e62],
    "tiny": [2e-62, 3e-61, 5e-61, 7e-60],
    "one size": [4.0],
    "none": [],
}


def rotation(n, seed=0):
    made = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, dtype=D, generator=made)).Q


def made(w, q):
    return (q * torch.tensor(w, dtype=D)) @ q.mT


@pytest.mark.parametrize("eps", [1e-10, 0.7])
@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0, 0.125])
@pytest.mark.parametrize("w", SPECTRA.values(), ids=SPECTRA.keys())
def test_an_inverse_root_has_the_eigenvalues_that_it_says(w, exponent, eps):
    q = rotation(len(w))
    root = inverse_root(made(w, q), eps, exponent)
    expected = [(x + eps) ** -exponent for x in w]
    scale = max(expected, default=1.0)
    near = 1e-12 + 3e-16 * max(w, default=0) / (min(w, default=1) + eps)  # what float64 knows of the smallest
    torch.testing.assert_close(root / scale, made(expected, q) / scale, rtol=near, atol=near)


def test_eps_outside_the_root_is_another_matrix():
    w, q = SPECTRA["plain"], rotation(4)
    outside = inverse_root(made(w, q), 0.3, 0.25, inside=False)
    torch.testing.assert_close(outside, made([1 / (x**0.25 + 0.3) for x in w], q))
    assert (outside - inverse_root(made(w, q), 0.3, 0.25)).abs().max() > 0.01


def test_without_eps_zero_directions_are_left_out():
    q = torch.eye(3, dtype=D)
    root = inverse_root(torch.diag(torch.tensor([0.0, 16.0, 81.0], dtype=D)), 0.0, 0.25)
    torch.testing.assert_close(root, made([0.0, 0.5, 1 / 3], q))
    assert not inverse_root(torch.zeros(2, 2), 0.0, 0.25).any()


def test_a_negative_eigenvalue_counts_as_zero():
    a = torch.diag(torch.tensor([-1e-3, 16.0], dtype=D))
    torch.testing.assert_close(inverse_root(a, 1e-2, 0.5), torch.diag(torch.tensor([10.0, 16.01**-0.5], dtype=D)))


def test_a_stack_is_each_of_its_matrices_and_nan_stays_with_its_own():
    stack = torch.stack([made(SPECTRA[k], rotation(4, i)) for i, k in enumerate(("plain", "rank one", "zero"))])
    bad = stack.clone()
    bad[1, 0, 2] = torch.nan
    for f in (lambda x: inverse_root(x, 1e-2, 0.25), basis):
        for i, one in enumerate(stack):
            torch.testing.assert_close(f(stack)[i], f(one))
        assert f(bad)[1].isnan().all()
        torch.testing.assert_close(f(bad)[::2], f(stack)[::2])


def test_what_does_not_converge_is_asked_again_in_float64(monkeypatch):
    true, asked = torch.linalg.eigh, []

    def fails(x):
        asked.append(x.dtype)
        if x.dtype == torch.float32:
            raise torch.linalg.LinAlgError("it did not converge")
        return true(x)

    monkeypatch.setattr(eigen.torch.linalg, "eigh", fails)
    w, q = eigh(torch.diag(torch.tensor([3.0, 2.0])))
    assert asked == [torch.float32, D] and w.dtype == q.dtype == torch.float32 and w.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("w", SPECTRA.values(), ids=SPECTRA.keys())
def test_a_basis_is_orthonormal_and_diagonal_from_the_largest(w):
    a = made(w, rotation(len(w)))
    q = basis(a)
    torch.testing.assert_close(q.mT @ q, torch.eye(len(w), dtype=D))
    expected = torch.diag(torch.tensor(sorted(w, reverse=True), dtype=D))
    scale = max([x for x in w if x], default=1.0)
    torch.testing.assert_close(q.mT @ a @ q / scale, expected / scale, rtol=1e-9, atol=1e-12)


def test_a_null_space_has_a_basis_that_rounding_does_not_choose():
    x = torch.randn(7, 3, dtype=D, generator=torch.Generator().manual_seed(4))
    noise = 1e-15 * torch.randn(7, 7, dtype=D, generator=torch.Generator().manual_seed(5))
    a = x @ x.mT
    first, second = basis(a), basis(a + noise + noise.mT)
    torch.testing.assert_close((first * second).sum(0).abs(), torch.ones(7, dtype=D))


def test_an_index_without_a_row_is_a_direction_by_itself_and_stays():
    x = torch.randn(6, 2, dtype=D, generator=torch.Generator().manual_seed(4))
    x[3] = 0
    x[5] = 0
    q = basis(x @ x.mT)
    for _ in range(3):
        assert sorted(q[[3, 5]].abs().sum(0).round(decimals=9).tolist()) == [0, 0, 0, 0, 1, 1]
        assert q[5, 5].abs() > 1 - 1e-12  # the last index is last, so that blocks that are filled up lose nothing
        q = follow(x @ x.mT, q)


def test_a_basis_follows_the_eigenvectors_and_each_column_keeps_its_slot():
    a, true = made([0.1, 1.0, 10.0, 100.0], rotation(4)), rotation(4)
    q = (true + 0.05 * rotation(4, 1))[:, [2, 0, 3, 1]]
    q = torch.linalg.qr(q).Q
    for _ in range(12):
        q = follow(a, q)
    torch.testing.assert_close((true[:, [2, 0, 3, 1]] * q).sum(0).abs(), torch.ones(4, dtype=D))


def test_permuted_columns_are_followed_to_permuted_columns():
    x = torch.randn(5, 9, dtype=D, generator=torch.Generator().manual_seed(4))
    a, q, order = x @ x.mT, rotation(5, 2), [3, 1, 4, 0, 2]
    torch.testing.assert_close(follow(a, q[:, order]), follow(a, q)[:, order])


def test_a_matrix_of_zeros_moves_no_basis():
    q = rotation(4)
    assert (follow(torch.zeros(4, 4, dtype=D), q) * q).sum(0).abs().min() > 1 - 1e-12


def test_no_direction_is_taken_from_rounding():
    x = torch.randn(7, 3, dtype=D, generator=torch.Generator().manual_seed(4))
    noise = 1e-16 * torch.randn(7, 7, dtype=D, generator=torch.Generator().manual_seed(5))
    a = x @ x.mT
    q = basis(a)
    first, second = follow(a, q), follow(a + noise + noise.mT, q)
    torch.testing.assert_close((first * second).sum(0).abs(), torch.ones(7, dtype=D))
