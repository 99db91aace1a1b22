"""Dion2: what is chosen moves and decays, what is not is kept, and nothing is lost."""

import math

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import Experts, Heads, Partition
from ravine.optim.dion2 import part

F64 = torch.float64
PLAIN = {"lr": 1.0, "weight_decay": 0.0, "adjust_lr": None, "polynomials": "deepseek"}


def gradients(shape, count=6, seed=0):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=made, dtype=F64) for _ in range(count)]


def walk(cls, shape, grads, **hyper):
    p = nn.Parameter(torch.zeros(shape, dtype=F64))
    opt = cls([p], **hyper)
    for g in grads:
        p.grad = g.clone()
        opt.step()
    return p.detach(), opt.state[p]


@pytest.mark.parametrize(("shape", "side"), [((8, 20), 1), ((20, 8), 0), ((8, 8), 1)])
def test_only_the_longest_of_the_fewer_rows_or_columns_move_and_are_orthonormal(shape, side):
    (g,) = gradients(shape, 1)
    moved, _ = walk(ravine.Dion2, shape, [g], fraction=0.25, **PLAIN)
    touched = moved.abs().sum(side) > 0
    assert touched.sum() == 2
    lengths = g.abs().sum(side)
    assert lengths[touched].min() > lengths[~touched].max()
    torch.testing.assert_close(torch.linalg.svdvals(moved)[:2], torch.ones(2, dtype=F64), rtol=2e-3, atol=0)
    rows = (moved if side else moved.T)[touched]
    torch.testing.assert_close((rows * (g if side else g.T)[touched]).sum(), -torch.linalg.matrix_norm(
        (g if side else g.T)[touched], "nuc"), rtol=2e-3, atol=0)  # fmt: skip


def test_it_is_the_sum_of_magnitudes_that_chooses():
    g = torch.tensor([[0.6, 0.6, 0.6], [1.5, 0.0, 0.0]], dtype=F64)  # ℓ₁: 1.8 and 1.5, ℓ₂: 1.04 and 1.5
    moved, _ = walk(ravine.Dion2, (2, 3), [g], fraction=0.5, **PLAIN)
    assert (moved[0] != 0).all() and (moved[1] == 0).all()


def test_of_equally_long_rows_the_first_are_chosen():
    for backend in ("llvm", "reference"):
        moved, _ = walk(ravine.Dion2, (4, 5), [torch.ones(4, 5, dtype=F64)], fraction=0.5, backend=backend, **PLAIN)
        assert (moved[:2] != 0).all() and (moved[2:] == 0).all()


@pytest.mark.parametrize(
    ("n", "fraction", "count"), [(8, 0.25, 2), (9, 0.25, 3), (8, 1e-9, 1), (8, 1.0, 8), (1, 0.5, 1)]
)
def test_how_many_are_chosen(n, fraction, count):
    moved, _ = walk(ravine.Dion2, (n, 12), gradients((n, 12), 1), fraction=fraction, **PLAIN)
    assert (moved.abs().sum(1) > 0).sum() == count


def test_what_is_left_out_stays_until_it_is_chosen():
    """Of rows a and b, with gradients in turn: M keeps all of b, and μ of a."""
    a, b = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=F64), torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=F64)
    hyper = PLAIN | {"fraction": 0.5, "ef_decay": 0.5}
    moved, state = walk(ravine.Dion2, (2, 2), [a], **hyper)
    assert torch.equal(state["M"], torch.tensor([[1.5, 0.0], [0.0, 1.0]], dtype=F64)) and moved[1, 1] == 0
    moved, state = walk(ravine.Dion2, (2, 2), [a, b], **hyper)  # the second row is 2 now, and the longer one
    assert torch.equal(state["M"], torch.tensor([[1.5, 0.0], [0.0, 1.0]], dtype=F64))
    torch.testing.assert_close(moved, torch.tensor([[-1.0, 0.0], [0.0, -1.0]], dtype=F64), rtol=0, atol=1e-3)


def test_with_all_rows_it_is_muon_without_nesterov():
    """But for the scale, √(r / c) even where that is below 1, and the momentum's, which direction does not see."""
    for shape in [(8, 5), (5, 8)]:
        grads = gradients(shape)
        hyper = {"lr": 0.1, "weight_decay": 0.1, "polynomials": "modula"}
        mine, _ = walk(ravine.Dion2, shape, grads, fraction=1.0, ef_decay=0.9, **hyper)
        muon, _ = walk(ravine.Muon, shape, grads, momentum=0.9, nesterov=False, **hyper)
        if shape[0] > shape[1]:
            torch.testing.assert_close(mine, muon, rtol=1e-9, atol=1e-9)
        wide, _ = walk(ravine.Dion2, shape, grads, fraction=1.0, ef_decay=0.9, adjust_lr="rms_norm", **hyper)
        hyper |= {"momentum": 0.9, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}
        moonlight, _ = walk(ravine.Muon, shape, grads, **hyper)
        torch.testing.assert_close(wide, moonlight, rtol=1e-9, atol=1e-9)
    whole, _ = walk(ravine.Dion2, (5, 8), gradients((5, 8), 1), fraction=1.0, **PLAIN | {"adjust_lr": "spectral_norm"})
    torch.testing.assert_close(
        torch.linalg.svdvals(whole), torch.full((5,), math.sqrt(5 / 8), dtype=F64), rtol=2e-3, atol=0
    )


def test_every_row_has_its_turn():
    """A row whose gradient is never the longest gathers until it is."""
    g = torch.diag(torch.arange(1.0, 9.0, dtype=F64))
    moved, _ = walk(ravine.Dion2, (8, 8), [g] * 60, fraction=0.125, ef_decay=0.0, **PLAIN)
    assert (moved.diagonal() < 0).all()


@pytest.mark.parametrize(("shape", "block", "cut"), [
    ((3, 4, 6), Experts(), lambda x: [*x]),
    ((3, 6, 4), Experts(), lambda x: [*x]),
    ((8, 6), Heads(2), lambda x: [*x.chunk(2)]),
    ((6, 8), Heads(2, of="columns"), lambda x: [*x.chunk(2, 1)]),
    ((8, 6), Partition(4), lambda x: [y for z in x.chunk(2) for y in z.chunk(2, 1)]),
])  # fmt: skip
def test_each_matrix_of_a_tensor_chooses_its_own_rows(shape, block, cut):
    grads = gradients(shape, 4)
    whole, _ = walk(ravine.Dion2, shape, grads, lr=0.1, blocks=block)
    for i, mine in enumerate(cut(whole)):
        alone, _ = walk(ravine.Dion2, mine.shape, [cut(g)[i].contiguous() for g in grads], lr=0.1)
        torch.testing.assert_close(mine, alone, rtol=1e-9, atol=1e-9)


def test_decay_is_of_all_weights():
    p = nn.Parameter(torch.ones(4, 6, dtype=F64))
    p.grad = torch.zeros(4, 6, dtype=F64)
    p.grad[0] = 1.0
    ravine.Dion2([p], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(p.detach()[1:], torch.full((3, 6), 0.95, dtype=F64))
    assert (p.detach()[0] < 0.95).all()


def test_a_fraction_of_nothing_is_an_error():
    p = nn.Parameter(torch.ones(2, 2))
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"fraction is (0|1.5)"):
            ravine.Dion2([p], fraction=fraction)


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 6, 4), (2, 5, 5)])
def test_of_a_stack_each_matrix_is_as_it_is_alone(shape):
    (m,) = gradients(shape, 1)
    how = (0.5, 0.9, 5, (3.0, -3.2, 1.2), "given", "float32")
    for whole, alone in zip(part(m, *how), zip(*(part(x, *how) for x in m), strict=True), strict=True):
        torch.testing.assert_close(whole, torch.stack(alone), rtol=1e-12, atol=1e-12)
