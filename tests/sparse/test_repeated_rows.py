"""Rows that a sparse gradient has several times are added up in their order; all others are read where they lie."""

import pytest
import torch
from torch import nn

import ravine


def gradient(shape, count, dtype, seed=0, order="random"):
    made = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, shape[0], (count,), generator=made) if order == "random" else torch.arange(count)
    rows = rows.flip(0) if order == "down" else rows
    values = torch.randn(count, *shape[1:], generator=made, dtype=torch.float64).to(dtype)
    return torch.sparse_coo_tensor(rows[None], values, shape, check_invariants=True)


def one_by_one(g):
    """The same with each row once; numbers of 16 bits are added up as floats."""
    sums, values = {}, g._values()
    values = values.float() if g.dtype in (torch.bfloat16, torch.float16) else values
    for row, value in zip(g._indices()[0].tolist(), values, strict=True):
        sums[row] = sums[row] + value if row in sums else value
    rows = sorted(sums)
    values = torch.stack([sums[row] for row in rows]).to(g.dtype) if rows else g._values()
    index = torch.tensor([rows], dtype=torch.int64)
    return torch.sparse_coo_tensor(index, values, g.shape, is_coalesced=True, check_invariants=True)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64], ids=str
)
@pytest.mark.parametrize(
    ("count", "order"), [(300, "random"), (30, "random"), (2, "random"), (20, "up"), (20, "down"), (0, "up")]
)
def test_a_step_is_that_of_the_rows_added_one_by_one_bit_for_bit(dtype, count, order):
    for shape in ((40, 7), (40, 1), (40,)):
        made = torch.randn(shape, dtype=torch.float64).to(dtype)
        p, q = nn.Parameter(made.clone()), nn.Parameter(made.clone())
        mine, other = ravine.Adam([p], lr=0.1), ravine.Adam([q], lr=0.1)
        for t in range(3):
            p.grad = gradient(shape, count, dtype, t, order)
            q.grad = one_by_one(p.grad)
            before = p.grad._values().clone()
            mine.step()
            other.step()
            assert torch.equal(p.grad._values(), before), "gradients are never changed"
        assert torch.equal(p, q)
        for k, x in other.state[q].items():
            assert torch.equal(mine.state[p][k], x), k


def test_values_that_do_not_lie_row_after_row():
    p, q = nn.Parameter(torch.ones(9, 4)), nn.Parameter(torch.ones(9, 4))
    values = torch.arange(12.0).view(4, 3).T  # a transpose
    for x, v in ((p, values), (q, values.contiguous())):
        x.grad = torch.sparse_coo_tensor(torch.tensor([[5, 1, 5]]), v, (9, 4), check_invariants=True)
        ravine.SGD([x], lr=0.1).step()
    assert torch.equal(p, q)
    wanted = torch.ones(9, 4).index_add_(0, torch.tensor([5, 1, 5]), values, alpha=-0.1)
    assert torch.allclose(p, wanted)


@pytest.mark.parametrize("threads", [1, 3])
def test_tables_of_several_widths_step_together(threads):
    torch.set_num_threads(threads)
    shapes = [(3000, 33), (5, 0), (7, 1), (20_000, 3), (4, 5000)]
    params = [nn.Parameter(torch.ones(s)) for s in shapes]
    opt = ravine.SGD(params, lr=0.5)
    for count in (4, 2500):
        for i, p in enumerate(params):
            p.grad = gradient(p.shape, count, torch.float32, i)
        wanted = [p.detach() - 0.5 * p.grad.to_dense() for p in params]
        opt.step()
        for p, x in zip(params, wanted, strict=True):
            assert torch.allclose(p, x, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "llvm"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_backend_adds_in_that_order(backend, dtype):
    p, q = (nn.Parameter(torch.ones(40, 7, dtype=dtype)) for _ in range(2))
    p.grad = gradient((40, 7), 300, dtype)
    q.grad = one_by_one(p.grad)
    for x in (p, q):
        ravine.Adagrad([x], lr=0.1, backend=backend).step()
    assert torch.equal(p, q)
