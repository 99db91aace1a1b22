"""Muon: torch's where torch is right, singular values at 1, and a matrix for each block."""

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import QKV, Conv, Experts, Heads
from ravine.lab.protocol.spaces import SPACES

F64 = torch.float64


def gradients(shape, count=6, seed=0, dtype=torch.float32):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=made, dtype=F64).to(dtype) for _ in range(count)]


def walk(cls, shape, grads, start=None, **hyper):
    """Where a parameter is after steps along these gradients."""
    p = nn.Parameter(torch.zeros(shape, dtype=grads[0].dtype) if start is None else start.clone())
    opt = cls([p], **hyper)
    for g in grads:
        p.grad = None if g is None else g.clone()
        opt.step()
    return p.detach()


def polar(x):
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    return u @ v


# torch's


@pytest.mark.parametrize("adjust", [None, "original", "match_rms_adamw"])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(16, 24), (24, 16), (5, 5), (1, 7), (7, 1)])
def test_the_path_is_torchs_as_near_as_bf16_is(shape, nesterov, adjust):
    """torch rounds the iteration to bf16, ravine in either precision; each step is within a few of its roundings."""
    grads, hyper = gradients(shape, 20), {"lr": 0.02, "nesterov": nesterov, "adjust_lr_fn": adjust}
    start = gradients(shape, 1, 7)[0]
    theirs = walk(torch.optim.Muon, shape, grads, start, **hyper)
    moved = (theirs - start * (1 - 0.02 * 0.1) ** 20).norm()
    for precision in ("float32", "bf16"):
        mine = walk(ravine.Muon, shape, grads, start, precision=precision, **hyper)
        assert (mine - theirs).norm() < 0.03 * moved, (mine - theirs).norm() / moved


def test_a_bf16_gradient_without_nesterov_keeps_the_momentum_which_torch_spoils():
    """torch normalizes the buffer itself, in place (pytorch PR 190597)."""
    grads = gradients((4, 6), 3, dtype=torch.bfloat16)
    p = nn.Parameter(torch.zeros(4, 6, dtype=torch.bfloat16))
    opt = ravine.Muon([p], nesterov=False)
    m = torch.zeros(4, 6)
    for g in grads:
        p.grad = g
        opt.step()
        m = 0.95 * m + 0.05 * g.float()
    torch.testing.assert_close(opt.state[p]["momentum_buffer"].float(), m, rtol=0.02, atol=0.01)


def test_states_change_hands_with_torch():
    grads = gradients((4, 6), 4)
    p, q = (nn.Parameter(torch.zeros(4, 6)) for _ in range(2))
    mine, theirs = ravine.Muon([p], lr=0.05), torch.optim.Muon([q], lr=0.02)
    for g in grads[:2]:
        q.grad = g.clone()
        theirs.step()
    mine.load_state_dict(theirs.state_dict())
    assert torch.equal(mine.state[p]["momentum_buffer"], theirs.state[q]["momentum_buffer"])
    assert mine.param_groups[0]["lr"] == 0.02
    theirs.load_state_dict(mine.state_dict())
    for x, opt in ((p, mine), (q, theirs)):
        x.grad = grads[2].clone()
        opt.step()
    assert torch.equal(mine.state[p]["momentum_buffer"], theirs.state[q]["momentum_buffer"])


# what a step is


@pytest.mark.parametrize(("polynomials", "apart"), [("given", 0.32), ("polar_express", 0.14), ("deepseek", 1e-3)])
def test_without_momentum_the_direction_is_the_polar_factor(polynomials, apart):
    (g,) = gradients((6, 9), 1, dtype=F64)
    step = walk(ravine.Muon, (6, 9), [g], lr=1.0, momentum=0.0, polynomials=polynomials)
    assert torch.linalg.matrix_norm(-step - polar(g), 2) <= apart
    torch.testing.assert_close(polar(-step), polar(g))


def test_nothing_said_it_makes_singular_values_one_after_many_steps_too():
    """The step and not the path: the difference of two of its points."""
    shape = (12, 20)
    p = nn.Parameter(torch.zeros(shape))
    opt = ravine.Muon([p], lr=1.0, weight_decay=0.0)
    for g in gradients(shape, 10):
        before = p.detach().clone()
        p.grad = g
        opt.step()
        s = torch.linalg.svdvals(before - p.detach())
        assert s.min() > 0.5 and s.max() < 1.2, s


@pytest.mark.parametrize(("shape", "scale"), [((8, 2), 2.0), ((2, 8), 1.0)])
def test_the_scale_of_tall_matrices(shape, scale):
    (g,) = gradients(shape, 1, dtype=F64)
    hyper = {"lr": 1.0, "momentum": 0.0, "polynomials": "deepseek", "weight_decay": 0.0}
    step = walk(ravine.Muon, shape, [g], **hyper)
    torch.testing.assert_close(-step, scale * polar(g), rtol=0, atol=3e-3)
    step = walk(ravine.Muon, shape, [g], adjust_lr_fn="match_rms_adamw", **hyper)
    torch.testing.assert_close(-step, 0.2 * 8**0.5 * polar(g), rtol=0, atol=3e-3)
    square = step.square().mean().sqrt()  # which is what the name says: AdamW's is about 0.2
    assert square == pytest.approx(0.2, rel=0.01)


# matrices of one tensor


def blocks():
    """(name, shape, block, how the tensor is cut into its matrices)."""
    yield "experts", (3, 4, 6), Experts(), lambda x: [*x]
    yield "heads", (8, 6), Heads(2), lambda x: [*x.chunk(2)]
    yield "heads of columns", (6, 8), Heads(2, of="columns"), lambda x: [*x.chunk(2, 1)]
    yield "qkv", (12, 5), QKV(), lambda x: [*x.chunk(3)]
    yield "convolution", (6, 2, 3, 3), None, lambda x: [x.reshape(6, 18)]
    yield "positions", (4, 6, 2), Conv("positions"), lambda x: [x[:, :, 0], x[:, :, 1]]


@pytest.mark.parametrize("backend", ["llvm", "reference"])
@pytest.mark.parametrize(("shape", "block", "cut"), [x[1:] for x in blocks()], ids=[x[0] for x in blocks()])
def test_each_matrix_of_a_tensor_moves_as_a_tensor_of_its_own(shape, block, cut, backend):
    grads, start = gradients(shape, 4, dtype=F64), gradients(shape, 1, 5, dtype=F64)[0]
    whole = walk(ravine.Muon, shape, grads, start, lr=0.1, blocks=block, backend=backend)
    apart = [nn.Parameter(x.clone()) for x in cut(start)]
    opt = ravine.Muon(apart, lr=0.1, backend=backend)
    for g in grads:
        for p, x in zip(apart, cut(g), strict=True):
            p.grad = x.clone()
        opt.step()
    for x, p in zip(cut(whole), apart, strict=True):
        torch.testing.assert_close(x, p.detach(), rtol=0, atol=1e-10)


def test_the_scale_of_a_convolution_is_of_the_flattened_matrix():
    """And not of the kernel's height and width, which made steps up to 5 times too small elsewhere."""
    (g,) = gradients((64, 1, 3, 3), 1, dtype=F64)
    step = walk(ravine.Muon, g.shape, [g], lr=1.0, momentum=0.0, polynomials="deepseek")
    s = torch.linalg.svdvals(step.reshape(64, 9))
    torch.testing.assert_close(s, torch.full_like(s, (64 / 9) ** 0.5), rtol=2e-3, atol=0)


# odd input


def test_a_parameter_without_a_gradient_stays_and_is_not_decayed():
    p, q = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3, 4))
    opt = ravine.Muon([p, q], lr=0.1, weight_decay=0.5)
    q.grad = torch.eye(3, 4)
    opt.step()
    assert torch.equal(p, torch.ones(3, 4)) and p not in opt.state and (q != 1).all()


def test_a_gradient_of_zeros_moves_nothing_and_leaves_all_finite():
    p = walk(ravine.Muon, (3, 4), [torch.zeros(3, 4)] * 3, torch.ones(3, 4), weight_decay=0.0)
    assert torch.equal(p, torch.ones(3, 4))


@pytest.mark.parametrize("scale", [1e-6, 1e30, 1e37])
def test_the_size_of_gradients_does_not_count(scale):
    grads = gradients((4, 6), 4)
    usual = walk(ravine.Muon, (4, 6), grads, lr=0.1)
    near = walk(ravine.Muon, (4, 6), [g * scale for g in grads], lr=0.1)
    torch.testing.assert_close(near, usual, rtol=0, atol=1e-4)


def test_weights_in_bf16_step_as_those_in_float32_do():
    grads = gradients((8, 12), 5)
    wide = walk(ravine.Muon, (8, 12), grads, lr=0.5)
    narrow = walk(ravine.Muon, (8, 12), [g.bfloat16() for g in grads], lr=0.5)
    assert narrow.dtype == torch.bfloat16
    assert (narrow.float() - wide).norm() < 0.03 * wide.norm()


def test_a_vector_is_a_matrix_of_one_column():
    grads = gradients((5,), 3, dtype=F64)
    vector = walk(ravine.Muon, (5,), grads, lr=0.1)
    column = walk(ravine.Muon, (5, 1), [g[:, None] for g in grads], lr=0.1)
    torch.testing.assert_close(vector, column[:, 0])


def test_it_trains_a_network_with_adamw_beside_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    x, y = torch.randn(64, 8), torch.randn(64, 4).tanh()
    opt = ravine.create("muon", model, 0.02, rest={"lr": 3e-3})
    losses = []
    for _ in range(60):
        opt.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        losses.append(loss.item())
        opt.step()
    assert losses[-1] < 0.5 * losses[0]


# NorMuon and AdaMuon


def first_step(cls, shape, **hyper):
    (g,) = gradients(shape, 1, dtype=F64)
    return -walk(cls, shape, [g], lr=1.0, weight_decay=0.0, **hyper), g


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_normuon_without_memory_has_rows_of_one_length_and_the_length_of_muons_step(shape):
    step, _ = first_step(ravine.NorMuon, shape, beta2=0.0)
    rows = step.norm(dim=1)
    torch.testing.assert_close(rows, rows[:1].expand_as(rows))
    muons, _ = first_step(ravine.Muon, shape)
    torch.testing.assert_close(step.norm(), muons.norm())


def test_normuon_with_a_long_memory_leaves_equal_rows_as_muon_has_them():
    """Rows of a square orthogonal matrix are of one length already."""
    step, _ = first_step(ravine.NorMuon, (7, 7), polynomials="deepseek")
    muons, _ = first_step(ravine.Muon, (7, 7), polynomials="deepseek")
    torch.testing.assert_close(step, muons, rtol=0, atol=1e-3)


def test_adamuons_first_step_is_the_sign_of_the_orthogonalized_sign():
    step, g = first_step(ravine.AdaMuon, (6, 9), polynomials="deepseek")
    torch.testing.assert_close(step, 0.2 * polar(g.sign()).sign(), rtol=1e-4, atol=0)
    step, g = first_step(ravine.AdaMuon, (6, 9), polynomials="deepseek", sign=False)
    torch.testing.assert_close(step, 0.2 * polar(g).sign(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("hyper", [{"sign": False}, {}])
def test_adamuons_steps_are_as_large_as_adamws(hyper):
    p = nn.Parameter(torch.zeros(12, 20))
    opt = ravine.AdaMuon([p], lr=1.0, weight_decay=0.0, **hyper)
    for g in gradients((12, 20), 8):
        before = p.detach().clone()
        p.grad = g
        opt.step()
        assert (p.detach() - before).square().mean().sqrt() == pytest.approx(0.2, rel=1e-4)


@pytest.mark.parametrize("cls", [ravine.NorMuon, ravine.AdaMuon])
@pytest.mark.parametrize(("shape", "block", "cut"), list(x[1:] for x in blocks())[:5:2], ids=["experts", "h", "conv"])
def test_their_matrices_move_as_tensors_of_their_own(cls, shape, block, cut):
    if isinstance(block, Heads):
        block, cut = Heads(2), lambda x: [*x.chunk(2)]  # NorMuon looks at rows, which lie together
    grads, start = gradients(shape, 4, dtype=F64), gradients(shape, 1, 5, dtype=F64)[0]
    whole = walk(cls, shape, grads, start, lr=0.1, blocks=block)
    apart = [nn.Parameter(x.clone()) for x in cut(start)]
    opt = cls(apart, lr=0.1)
    for g in grads:
        for p, x in zip(apart, cut(g), strict=True):
            p.grad = x.clone()
        opt.step()
    for x, p in zip(cut(whole), apart, strict=True):
        torch.testing.assert_close(x, p.detach(), rtol=0, atol=1e-9)


def test_normuon_begins_without_a_second_moment():
    """At the first step v is 1 − β₂ of the mean squares, in all rows alike: β₂ does not count."""
    for hyper in ({}, {"adjust_lr_fn": "match_rms_adamw"}):
        short, _ = first_step(ravine.NorMuon, (4, 6), beta2=0.3, eps=0.0, **hyper)
        long, _ = first_step(ravine.NorMuon, (4, 6), beta2=0.9, eps=0.0, **hyper)
        torch.testing.assert_close(short, long)
    assert short.square().mean().sqrt() == pytest.approx(0.2, rel=1e-6)


def test_adamuon_begins_without_a_second_moment():
    short, _ = first_step(ravine.AdaMuon, (4, 6), betas=(0.9, 0.3), eps=0.0)
    long, _ = first_step(ravine.AdaMuon, (4, 6), betas=(0.5, 0.9), eps=0.0)
    torch.testing.assert_close(short, long)


@pytest.mark.parametrize(("cls", "signed"), [(ravine.NorMuon, False), (ravine.AdaMuon, True)])
def test_a_large_eps_leaves_the_direction_of_muon_and_little_of_its_length(cls, signed):
    step, g = first_step(cls, (4, 6), eps=1e3, polynomials="deepseek")
    o = polar(g.sign() if signed else g)
    torch.testing.assert_close(step / step.norm(), o / o.norm(), rtol=0, atol=2e-3)
    assert step.norm() < 1e-2


def test_the_searched_space_has_the_public_record_inside():
    """modded-nanogpt, track 3: lr 0.025, decay 0.05, momentum 0.95 at 124M parameters."""
    space = SPACES["muon"]
    for name, found in {"lr": 0.025, "weight_decay": 0.05, "1-momentum": 0.05}.items():
        low, high = space[name]
        assert 2 * low < found < high / 2
