"""Scion: lengths in each norm, the ball the weights stay in, and the traps of ports."""

import math

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import QKV, Experts

F64 = torch.float64
EXACT = {"polynomials": "deepseek"}  # singular values within 0.1 % of 1


def walk(shape, count, start=None, seed=0, **hyper):
    made = torch.Generator().manual_seed(seed)
    p = nn.Parameter(torch.zeros(shape, dtype=F64) if start is None else start.clone())
    opt = ravine.Scion([p], **hyper)
    for _ in range(count):
        p.grad = torch.randn(shape, generator=made, dtype=F64)
        opt.step()
    return p.detach()


def first_step(shape, **hyper):
    """One step of lr 1 from 0, without the pull: the direction, of radius 1."""
    return -walk(shape, 1, lr=1.0, unconstrained=True, **hyper)


@pytest.mark.parametrize(("shape", "places"), [((8, 2), 1), ((2, 8), 1), ((6, 4, 3), 3), ((6, 2, 3, 2), 6)])
def test_spectral_has_singular_values_of_the_root_of_out_by_in(shape, places):
    """And of a kernel divided by its places: the authors take it for a square one."""
    s = torch.linalg.svdvals(first_step(shape, norm="spectral", **EXACT).flatten(1))
    root = math.sqrt(shape[0] / shape[1])
    torch.testing.assert_close(s, torch.full_like(s, root / places), rtol=2e-3, atol=0)
    s = torch.linalg.svdvals(first_step(shape, norm="spectral_max", **EXACT).flatten(1))
    torch.testing.assert_close(s, torch.full_like(s, max(1, root / places)), rtol=2e-3, atol=0)
    s = torch.linalg.svdvals(first_step(shape, norm="spectral", normalized=False, **EXACT).flatten(1))
    torch.testing.assert_close(s, torch.full_like(s, math.sqrt(shape[0]) / places), rtol=2e-3, atol=0)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 3, 2)])
@pytest.mark.parametrize("norm", ["spectral", "spectral_max", "columns", "rows", "sign"])
@pytest.mark.parametrize("normalized", [None, True, False])
def test_a_transposed_weight_takes_the_transposed_step(shape, norm, normalized):
    hyper = {"norm": norm, "normalized": normalized} | EXACT
    turned = first_step(shape, transpose=True, **hyper)
    p = nn.Parameter(torch.zeros(shape, dtype=F64).transpose(0, 1).contiguous())
    opt = ravine.Scion([p], lr=1.0, unconstrained=True, **hyper)
    p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=F64).transpose(0, 1).contiguous()
    opt.step()
    if len(shape) == 2:
        torch.testing.assert_close(turned, -p.detach().T, rtol=1e-12, atol=1e-12)
    elif norm == "spectral":  # a transposed convolution is (in, out, k): the matrix is another, its scale is not
        s, t = (torch.linalg.svdvals(x.flatten(1)) for x in (turned, p.detach()))
        torch.testing.assert_close(s[:1], t[:1], rtol=2e-3, atol=0)


def test_columns_have_the_root_mean_square_1_and_rows_the_length_of_one_over_root_of_columns():
    columns = first_step((6, 4), norm="columns")
    torch.testing.assert_close(columns.square().mean(0).sqrt(), torch.ones(4, dtype=F64), rtol=1e-6, atol=0)
    rows = first_step((6, 4), norm="rows")
    torch.testing.assert_close(rows.norm(dim=1), torch.full((6,), 0.5, dtype=F64), rtol=1e-6, atol=0)
    signs = first_step((6, 4), norm="sign")
    assert torch.equal(signs.abs(), torch.full((6, 4), 0.25, dtype=F64))
    words = first_step((9, 4), norm="columns", transpose=True)  # of an embedding, a word's row
    torch.testing.assert_close(words.norm(dim=1), torch.full((9,), 2.0, dtype=F64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("norm", ["auto", "columns"])
def test_vectors_are_divided_by_their_root_mean_square(norm, transpose):
    step = first_step((7,), norm=norm, transpose=transpose)
    assert step.square().mean().sqrt() == pytest.approx(1, rel=1e-6)


def test_auto_is_spectral_and_of_vectors_columns():
    for shape, norm in [((6, 4), "spectral"), ((6, 2, 3), "spectral"), ((7,), "columns"), ((), "columns")]:
        assert torch.equal(first_step(shape), first_step(shape, norm=norm))


@pytest.mark.parametrize(
    ("norm", "of"),
    [
        ("spectral", lambda w: torch.linalg.matrix_norm(w, 2) * math.sqrt(4 / 6)),
        ("columns", lambda w: w.square().mean(0).sqrt().max()),
        ("rows", lambda w: w.norm(dim=1).max() * 2),
        ("sign", lambda w: w.abs().max() * 4),
    ],
)
def test_weights_stay_in_the_ball_and_come_into_it(norm, of):
    """Its radius is `scale`. They do so only without `unconstrained`."""
    hyper = {"norm": norm, "scale": 3.0, "lr": 0.1} | EXACT
    inside = walk((6, 4), 50, **hyper)
    assert 0.05 < of(inside) <= 3.0 * 1.002
    outside = torch.full((6, 4), 50.0, dtype=F64)
    assert of(walk((6, 4), 100, outside, **hyper)) <= 3.0 * 1.002
    assert of(walk((6, 4), 100, outside, unconstrained=True, **hyper)) > 9


def test_the_direction_is_of_the_average_and_not_of_the_gradient():
    """A port took the gradient's; and another word for α, 1 − α, was taken for it."""
    gradients = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, -0.5]])]
    p = nn.Parameter(torch.zeros(1, 2))
    opt = ravine.Scion([p], lr=1.0, norm="sign", alpha=0.25, unconstrained=True)
    for g in gradients:
        p.grad = g
        opt.step()
    assert torch.equal(p.detach(), torch.tensor([[-1.0, 0.5]]))  # signs of (0.25, 0) and of (0.19, −0.125), halved
    torch.testing.assert_close(opt.state[p]["d"], torch.tensor([[0.75 * 0.25, -0.125]]))
    with pytest.raises(TypeError, match=r"Scion has no 'momentum'.*alpha"):
        ravine.Scion([p], momentum=0.1)
    with pytest.raises(ValueError, match="alpha is 0"):
        ravine.Scion([p], alpha=0.0)


def test_without_averaging_sign_is_signsgds_and_spectral_is_muons():
    hyper = {"lr": 0.1, "alpha": 1.0, "unconstrained": True}
    assert torch.equal(walk((6, 4), 1, norm="sign", normalized=False, **hyper), walk_of(ravine.SignSGD, (6, 4), lr=0.1))
    muon = walk_of(ravine.Muon, (4, 6), lr=0.1, momentum=0.0, weight_decay=0.0)
    torch.testing.assert_close(walk((4, 6), 1, **hyper), math.sqrt(4 / 6) * muon, rtol=1e-12, atol=1e-12)


def walk_of(cls, shape, **hyper):
    p = nn.Parameter(torch.zeros(shape, dtype=F64))
    p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    cls([p], **hyper).step()
    return p.detach()


@pytest.mark.parametrize(("shape", "block", "cut"), [
    ((3, 4, 6), Experts(), lambda x: [*x]),
    ((12, 5), QKV(), lambda x: [*x.chunk(3)]),
])  # fmt: skip
@pytest.mark.parametrize("norm", ["spectral", "rows", "columns"])
def test_each_matrix_of_a_block_has_its_own_scale(shape, block, cut, norm):
    whole = first_step(shape, blocks=block, norm=norm)
    (g,) = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=F64),)
    for mine, x in zip(cut(whole), cut(g), strict=True):
        p = nn.Parameter(torch.zeros_like(x))
        p.grad = x.contiguous()
        ravine.Scion([p], lr=1.0, unconstrained=True, norm=norm).step()
        torch.testing.assert_close(mine, -p.detach(), rtol=1e-9, atol=1e-9)


def test_one_optimizer_trains_all_layers_of_a_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(64, 8)
    y = (x @ torch.randn(8, 4)).argmax(1)
    hidden, head = [*model[0].parameters(), *model[2].parameters()], [*model[4].parameters()]
    groups = [{"params": hidden, "scale": 3.0}, {"params": head, "norm": "sign", "scale": 32.0}]
    opt = ravine.Scion(groups, lr=0.03)
    losses = []
    for _ in range(60):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        opt.step()
    assert losses[-1] < 0.3 * losses[0]
