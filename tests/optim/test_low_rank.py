"""Laws of GaLore and APOLLO that need no second implementation, and the traps of others."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import Partition
from ravine.compile.interpret import factor, uniform
from ravine.compile.launch import base
from ravine.matrix import subspace

D = torch.float64
EVERY = pytest.mark.parametrize("cls", [ravine.GaLore, ravine.APOLLO])


def noise(shape, steps, seed=1):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=D, generator=made) for _ in range(steps)]


def walk(opt, gradients):
    """Steps of the one parameter of an optimizer, which begins where it is; the parameter."""
    (p,) = opt.param_groups[0]["params"]
    for g in gradients:
        p.grad = g.to(p.dtype)
        opt.step()
    return p.detach().clone()


def begin(cls, shape, dtype=D, **hyper):
    return cls([nn.Parameter(torch.ones(shape, dtype=dtype))], **{"rank": 2, "lr": 0.1} | hyper)


def near(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def bytes_of(opt):
    return sum(x.numel() * x.element_size() for s in opt.state.values() for k, x in s.items() if k != "step")


# memory


@pytest.mark.parametrize("shape", [(60, 40), (40, 60)], ids=str)
def test_states_are_as_small_as_the_rank(shape):
    """Two moments of 60 × 3, and a basis of 40 × 3 that is GaLore's; a random projection is in no state."""
    for cls, hyper, numbers in (
        (ravine.GaLore, {}, 2 * 60 * 3 + 40 * 3),
        (ravine.GaLore, {"proj_type": "reverse_std"}, 2 * 40 * 3 + 60 * 3),
        (ravine.GaLore, {"proj_type": "full"}, 2 * 3 * 3 + 60 * 3 + 40 * 3),
        (ravine.APOLLO, {}, 2 * 60 * 3 + 1),
        (ravine.APOLLO, {"proj": "svd"}, 2 * 60 * 3 + 40 * 3 + 1),
        (ravine.APOLLO, {"rank": 1, "scale_type": "tensor", "norm_growth": 0.0}, 2 * 60),
    ):
        opt = begin(cls, shape, torch.float32, **{"rank": 3} | hyper)
        walk(opt, noise(shape, 1))
        assert bytes_of(opt) == 4 * numbers, (cls, hyper)


@EVERY
def test_a_rank_above_the_smaller_size_is_that_size(cls):
    opt, other = begin(cls, (5, 3), rank=3), begin(cls, (5, 3), rank=500)
    near(walk(opt, noise((5, 3), 4)), walk(other, noise((5, 3), 4)), 0)
    assert {k: x.shape for k, x in next(iter(opt.state.values())).items()} == {
        k: x.shape for k, x in next(iter(other.state.values())).items()
    }


@EVERY
@pytest.mark.parametrize("name", ["rank", "update_proj_gap"])
def test_what_is_not_positive_is_one_error(cls, name):
    begin(cls, (4, 3), **{name: 1})
    with pytest.raises(ValueError, match=f"{cls.__name__}: {name} is 0; it must be 1 or more"):
        begin(cls, (4, 3), **{name: 0})


def test_a_growth_below_one_is_one_error():
    with pytest.raises(ValueError, match=r"norm_growth is 0\.5; it must be 1 or more, or 0"):
        begin(ravine.APOLLO, (4, 3), norm_growth=0.5)


@pytest.mark.parametrize("cls", [ravine.GaLore, ravine.Muon])
@pytest.mark.parametrize("hyper", [{}, {"nonfinite": "skip"}], ids=str)
def test_what_a_step_makes_between_its_phases_may_have_memory_within_it_only(cls, hyper, monkeypatch):
    def walked():
        params = [nn.Parameter(torch.ones(x)) for x in ((6, 4), (4, 6), (6, 4))]
        opt = cls(params, lr=0.1, **hyper)
        for t, made in enumerate(zip(*(noise(p.shape, 5, seed=i) for i, p in enumerate(params)), strict=True)):
            for p, g in zip(params, made, strict=True):
                p.grad = g.float() * (torch.nan if hyper and t == 2 else 1.0)
            opt.step()
        return opt, params

    kept, expected = walked()
    monkeypatch.setattr(base, "lends", lambda device: True)
    monkeypatch.setattr(base, "LARGE", 0)
    opt, params = walked()
    for p, q in zip(params, expected, strict=True):
        assert torch.equal(p, q)
    for x, nothing in ((opt, True), (kept, False)):
        between = [x for b in x._arranged.batches for made in b.launch.between for x in made.values()]
        assert between and all((x.untyped_storage().nbytes() == 0) == nothing for x in between)


# GaLore's subspace


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_projector_of_low_weights_is_orthonormal_in_float32(dtype):
    opt = begin(ravine.GaLore, (24, 16), dtype, rank=8, eps=1e-3)
    p = walk(opt, noise((24, 16), 3))
    (state,) = opt.state.values()
    assert all(x.dtype == torch.float32 for x in state.values() if x.dim())
    near(state["PR"].mT @ state["PR"], torch.eye(8), 1e-6)
    exact = walk(begin(ravine.GaLore, (24, 16), D, rank=8, eps=1e-3), [g.to(dtype) for g in noise((24, 16), 3)])
    near(p.double(), exact, 0.02)


@pytest.mark.parametrize("hyper", [{}, {"rotate": True}, {"proj_type": "full"}, {"blocks": Partition(4)}], ids=str)
def test_the_signs_that_lapack_gives_to_singular_vectors_are_not_seen(hyper, monkeypatch):
    """Each machine has its own; with those of another in every call the walk is the same."""
    gradients = noise((6, 4), 7)
    once = walk(begin(ravine.GaLore, (6, 4), update_proj_gap=2, **hyper), gradients)
    real, calls = torch.linalg.svd, []

    def other(a, full_matrices=True):
        calls.append(a)
        u, s, vh = real(a, full_matrices=full_matrices)
        sign = torch.where((torch.arange(s.shape[-1]) + len(calls)) % 2 == 0, -1.0, 1.0).to(a.dtype)
        return u * sign, s, sign[:, None] * vh

    monkeypatch.setattr(torch.linalg, "svd", other)
    near(walk(begin(ravine.GaLore, (6, 4), update_proj_gap=2, **hyper), gradients), once)
    assert len(calls) >= 4


def test_a_new_basis_points_to_where_the_old_one_does():
    a, b = noise((6, 4), 2)
    first = subspace(a, torch.zeros(4, 3, dtype=D))
    assert (first.gather(-2, first.abs().argmax(-2, keepdim=True)) > 0).all()
    assert ((subspace(b, first) * first).sum(-2) > 0).all()
    assert ((subspace(b, -first) * -first).sum(-2) > 0).all()
    near(subspace(a, -first), -first)


def test_directions_without_a_singular_value_do_not_depend_on_rounding():
    """Of a gradient of rank one, 7 numbers below its precision apart."""
    g = torch.outer(torch.arange(1.0, 7, dtype=D), torch.arange(1.0, 5, dtype=D))
    made = subspace(g, torch.zeros(4, 3, dtype=D))
    near(subspace(g + 1e-16 * noise((6, 4), 1)[0], torch.zeros(4, 3, dtype=D)), made)
    near(made.mT @ made, torch.eye(3, dtype=D))
    near(made[:, 0], g[0] / g[0].norm())
    zero = subspace(torch.zeros(6, 4, dtype=D), torch.zeros(4, 3, dtype=D))
    near(zero.mT @ zero, torch.eye(3, dtype=D))


def test_moments_stay_where_they_are_unless_they_are_rotated():
    """m is numbers of the subspace: read in its basis it is the average gradient, of which a change keeps what both
    subspaces have, with rotate; without, it is another matrix after the change."""
    gradients = noise((6, 4), 3)
    for rotate in (False, True):
        opt = begin(ravine.GaLore, (6, 4), update_proj_gap=2, betas=(0.9, 0.9), rotate=rotate)
        walk(opt, gradients[:2])
        (s,) = opt.state.values()
        m, v, before = s["m"].clone(), s["v"].clone(), s["PR"].clone()
        walk(opt, gradients[2:])
        after = s["PR"]
        turn = after.mT @ before
        h = gradients[2] @ after
        near(s["m"], 0.9 * (m @ turn.mT if rotate else m) + 0.1 * h)
        near(s["v"], 0.9 * (v @ (turn**2).mT if rotate else v) + 0.1 * h**2)


def test_rotated_moments_make_a_change_of_basis_within_one_subspace_unseen():
    """All gradients have one row space: β₂ = 0 aside, what m is as a matrix goes on through each change."""
    row = torch.linalg.qr(noise((4, 2), 1)[0]).Q
    gradients = [x @ row.mT for x in noise((6, 2), 6)]
    opt = begin(ravine.GaLore, (6, 4), update_proj_gap=2, betas=(0.9, 0.9), rotate=True)
    walk(opt, gradients)
    (s,) = opt.state.values()
    mean = sum(0.1 * 0.9 ** (5 - t) * g for t, g in enumerate(gradients))
    near(s["m"] @ s["PR"].mT, mean)


def test_at_full_rank_without_second_moments_that_matter_galore_is_momentum():
    gradients = noise((5, 5), 4)
    galore = walk(begin(ravine.GaLore, (5, 5), rank=5, betas=(0.9, 0.0), eps=1e9, scale=1e9, rotate=True,
                        update_proj_gap=2), gradients)  # fmt: skip
    m, p = torch.zeros(5, 5, dtype=D), torch.ones(5, 5, dtype=D)
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        p = p - 0.1 / (1 - 0.9**t) * m
    near(galore, p, 1e-6)


def test_turns_of_galore_may_be_staggered():
    def changes(stagger):
        params = [nn.Parameter(torch.ones(5, 4, dtype=D)) for _ in range(4)]
        opt, found, last = ravine.GaLore(params, rank=2, update_proj_gap=5, stagger=stagger), [], None
        for t, g in enumerate(noise((4, 5, 4), 8)):
            for p, x in zip(params, g, strict=True):
                p.grad = x
            opt.step()
            now = [opt.state[p]["PR"].clone() for p in params]
            if t:
                found.append(sum(not torch.equal(a, b) for a, b in zip(now, last, strict=True)))
            last = now
        return found

    assert max(changes(False)) == 4 and max(changes(True)) < 4


# APOLLO's projection


def test_philox_is_philox():
    """The known answers of Salmon et al.'s Random123 for a counter and a key of zeros."""
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    found = uniform(torch.zeros(1, dtype=torch.int64), 0, 0, 0, 0)
    near(torch.cat(found).double(), torch.tensor([(w >> 8) / 2**24 for w in words], dtype=D), 2**-24)


def test_factors_are_standard_normal_numbers_of_their_own():
    x = factor((300, 200), 3, 5, torch.device("cpu")).double()
    assert abs(x.mean()) < 0.02 and abs(x.var() - 1) < 0.02 and abs((x**4).mean() - 3) < 0.1
    assert (torch.corrcoef(x.flatten().view(-1, 4).mT) - torch.eye(4)).abs().max() < 0.04  # the four of a counter
    for other in ((3, 6), (4, 5)):
        y = factor((300, 200), *other, torch.device("cpu")).double()
        assert abs(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1]) < 0.02
    assert torch.equal(factor((2, 5), 3, 5, torch.device("cpu")).flatten(), x.flatten()[:10].float())


def test_the_seed_is_a_number_of_run_time():
    def drawn(seed):
        opt = begin(ravine.APOLLO, (5, 3), seed=seed)
        walk(opt, noise((5, 3), 1))
        return next(iter(opt.state.values()))["m"]

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))


def test_a_projection_stays_for_its_turn_and_is_the_same_after_a_resume():
    gradients = noise((6, 4), 9)

    def begun():
        return begin(ravine.APOLLO, (6, 4), update_proj_gap=3, betas=(0.0, 0.9), seed=7)

    opt, found = begun(), []
    for _ in range(7):  # of one gradient: m is its projection
        walk(opt, gradients[:1])
        found.append(next(iter(opt.state.values()))["m"].clone())
    same = [torch.equal(a, b) for a, b in pairwise(found)]
    assert same == [True, True, False, True, True, False]
    whole, first = begun(), begun()
    walk(whole, gradients)
    p = walk(first, gradients[:4])
    second = begun()
    with torch.no_grad():
        second.param_groups[0]["params"][0].copy_(p)
    second.load_state_dict(first.state_dict())
    assert torch.equal(walk(second, gradients[4:]), whole.param_groups[0]["params"][0].detach())


def test_the_direction_of_apollo_is_the_gradient_row_by_row():
    (g,) = noise((6, 4), 1)
    step = walk(begin(ravine.APOLLO, (6, 4)), [g]) - 1
    near(step / step.norm(dim=1, keepdim=True), -g / g.norm(dim=1, keepdim=True))
    (g,) = noise((4, 6), 1)
    step = walk(begin(ravine.APOLLO, (4, 6)), [g]) - 1
    near(step / step.norm(dim=0), -g / g.norm(dim=0))
    step = walk(begin(ravine.APOLLO, (4, 6), scale_type="tensor"), [g]) - 1
    near(step / step.norm(), -g / g.norm())


def test_apollo_at_full_rank_has_the_channel_rates_of_adam():
    """A projection on all singular vectors changes no norm of a row, and β₂ = 0 makes every number ±1."""
    (g,) = noise((6, 4), 1)
    step = 1 - walk(begin(ravine.APOLLO, (6, 4), rank=4, proj="svd", betas=(0.0, 0.0), eps=0.0, scale=4.0), [g])
    near(step.norm(dim=1), torch.full((6,), 0.1 * 2 * 2, dtype=D), 1e-6)


def test_a_step_of_apollo_grows_by_no_more_than_it_may():
    (g,) = noise((6, 4), 1)
    hyper = {"betas": (0.0, 0.0), "eps": 1e5, "rank": 4, "proj": "svd"}  # so that its length is that of g / 1e5
    opt, lengths = begin(ravine.APOLLO, (6, 4), norm_growth=1.5, lr=1e5, **hyper), []
    for scale in (1.0, 10.0, 10.0, 0.1, 10.0):
        (p,) = opt.param_groups[0]["params"]
        before = p.detach().clone()
        lengths.append((walk(opt, [scale * g]) - before).norm().item() / g.norm().item())
    near(torch.tensor(lengths), torch.tensor([1.0, 1.5, 2.25, 0.1, 0.15]), 2e-3)


def test_a_first_gradient_of_zeros_does_not_hold_the_next_steps_back():
    """In the authors' code it does: the next one is 1e-8 long, and grows by 1 % a step."""
    gradients = [torch.zeros(6, 4, dtype=D), *noise((6, 4), 2)]
    step = walk(begin(ravine.APOLLO, (6, 4)), gradients) - 1
    assert step.norm() > 1e-2


def test_apollo_mini_is_a_name():
    opt = ravine.create("apollo-mini", [nn.Parameter(torch.ones(6, 4))])
    assert (opt.defaults["rank"], opt.defaults["scale"], opt.defaults["scale_type"]) == (1, 128.0, "tensor")


# both


@EVERY
def test_a_vector_has_adams_step(cls):
    gradients = noise((5,), 6)
    hyper = {"lr": 0.1, "betas": (0.9, 0.8), "eps": 1e-2}
    near(walk(begin(cls, (5,), **hyper), gradients), walk(ravine.AdamEps([nn.Parameter(torch.ones(5, dtype=D))],
                                                                          **hyper), gradients))  # fmt: skip


@EVERY
def test_decay_is_of_the_weights_after_the_step(cls):
    (g,) = noise((5, 4), 1)
    plain = walk(begin(cls, (5, 4)), [g])
    near(walk(begin(cls, (5, 4), weight_decay=0.5), [g]), 0.95 * plain)


@pytest.mark.parametrize(("cls", "hyper"), [(ravine.GaLore, {}), (ravine.APOLLO, {"proj": "svd", "norm_growth": 0.0})])
def test_blocks_are_matrices_of_their_own(cls, hyper):
    gradients = noise((8, 4), 5)
    if cls is ravine.APOLLO:  # numbers of rows beside elements that have moved are refused
        with pytest.raises(ValueError, match="numbers of rows"):
            walk(begin(cls, (8, 4), blocks=Partition(4), **hyper), gradients)
        return
    whole = walk(begin(cls, (8, 4), blocks=Partition(4), update_proj_gap=2, **hyper), gradients)
    for rows in (slice(0, 4), slice(4, 8)):
        own = [g[rows] for g in gradients]
        near(whole[rows], walk(begin(cls, (4, 4), update_proj_gap=2, **hyper), own))


@EVERY
def test_a_gradient_that_is_not_finite_is_skipped_before_any_svd(cls):
    good = noise((4, 6), 4)
    bad = good[0].clone()
    bad[1, 2] = torch.nan
    a, b = (begin(cls, (4, 6), update_proj_gap=2, nonfinite="skip") for _ in range(2))
    near(walk(a, [*good[:2], bad, *good[2:]]), walk(b, good), 0)
    assert a.skipped == 1


@EVERY
def test_zeros_and_nan_break_nothing(cls):
    opt = begin(cls, (4, 6), update_proj_gap=2)
    assert walk(opt, [torch.zeros(4, 6)] * 3).isfinite().all()
    assert walk(opt, [torch.full((4, 6), torch.nan)] * 2).isnan().all()


@EVERY
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_gradients_of_any_size_make_the_same_steps_in_float32(cls, scale):
    gradients = noise((5, 5), 4)
    hyper = {"eps": 0.0, "update_proj_gap": 2, "betas": (0.9, 0.9)}
    if cls is ravine.APOLLO:
        scale, hyper = scale if scale > 1 else 1e-3, hyper | {"norm_growth": 0.0}  # 1e-8 stands in its norms
    one = walk(begin(cls, (5, 5), torch.float32, **hyper), gradients)
    other = walk(begin(cls, (5, 5), torch.float32, **hyper), [scale * g for g in gradients])
    near(one, other, 1e-3)


# moments in bf16


@EVERY
def test_moments_of_a_low_rank_are_kept_in_bf16_and_follow_those_of_float32(cls):
    gradients = noise((24, 16), 8)
    opt = begin(cls, (24, 16), torch.float32, rank=4, eps=1e-3, update_proj_gap=3, storage="bf16")
    p = walk(opt, gradients)
    (s,) = opt.state.values()
    assert s["m"].dtype == s["v"].dtype == torch.bfloat16 and s["m"].shape == (24, 4)
    assert all(s[k].dtype == torch.float32 for k in ("PR", "n") if k in s)
    near(p, walk(begin(cls, (24, 16), torch.float32, rank=4, eps=1e-3, update_proj_gap=3), gradients), 0.05)
    again = begin(cls, (24, 16), torch.float32, rank=4, eps=1e-3, update_proj_gap=3, storage="bf16")
    assert torch.equal(walk(again, gradients), p)
    other = begin(cls, (24, 16), torch.float32, rank=4, eps=1e-3, update_proj_gap=3, storage="bf16", seed=1)
    assert not torch.equal(walk(other, gradients), p)


@EVERY
def test_a_slow_moment_in_bf16_moves(cls):
    """v of a gradient that has become small: rounded to nearest it would stand where it is."""
    (g,) = noise((40, 30), 1)
    opt = begin(cls, (40, 30), torch.float32, rank=8, storage="bf16", betas=(0.9, 0.999))
    walk(opt, [g])
    (s,) = opt.state.values()
    before = s["v"].float().sum()
    walk(opt, [0 * g] * 300)
    near(s["v"].float().sum() / before, torch.tensor(0.999**300), 0.03)


@EVERY
@pytest.mark.parametrize("to", [None, "float32", "bf16", "int8"])
@pytest.mark.parametrize("saved", [None, "bf16"])
def test_a_state_of_low_rank_loads_into_every_storage(cls, saved, to):
    if cls is ravine.APOLLO and to == "int8":
        pytest.skip("it looks at rows and columns")
    gradients = noise((24, 16), 6)
    first = begin(cls, (24, 16), torch.float32, rank=4, storage=saved)
    p = walk(first, gradients[:3])
    second = begin(cls, (24, 16), torch.float32, rank=4, storage=to)
    with torch.no_grad():
        second.param_groups[0]["params"][0].copy_(p)
    second.load_state_dict(first.state_dict())
    second.param_groups[0]["storage"] = to
    walk(second, gradients[3:4])
    (s,) = second.state.values()
    assert s["m"].dtype == (torch.bfloat16 if to == "bf16" else torch.float32)
    near(walk(second, gradients[4:]), walk(first, gradients[3:]), 0.05)
