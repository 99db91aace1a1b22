"""A step that is looked at, guarded or unscaled is the same step."""

import copy

import pytest
import torch
from cases import (
    equal,
    every_program,
    give,
    near,
    on_llvm_and_slowly_on_the_reference,
    parameters,
    same_states,
    slow,
    walk,
)

import ravine
from ravine.mods import EMA, ClipNorm, ClipValue

SHAPES = [(7,), (60, 70), (5000,), (2, 3, 4)]


def pair(cls, backend, **hyper):
    return cls(parameters(SHAPES), backend=backend), cls(parameters(SHAPES), backend=backend, **hyper)


@every_program
@on_llvm_and_slowly_on_the_reference
def test_looking_changes_nothing_and_sees_what_is(cls, backend):
    a, b = pair(cls, backend, measured=True, nonfinite="skip")
    walk(a, 2)
    before = [p.detach().double() for p in walk(b, 2)]
    a.step()
    b.step()
    params = b.param_groups[0]["params"]
    for p, q in zip(a.param_groups[0]["params"], params, strict=True):
        near(p, q, 2e-6)
    seen = b.metrics()
    assert seen.keys() == {"grad_norm", "update_norm", "weight_norm"}
    length = torch.cat([p.grad.double().flatten() for p in params]).norm()
    moved = torch.cat([(p.detach().double() - x).flatten() for p, x in zip(params, before, strict=True)]).norm()
    assert seen["grad_norm"].item() == pytest.approx(length.item(), rel=1e-5)
    assert seen["update_norm"].item() == pytest.approx(moved.item(), rel=1e-2, abs=1e-6)
    assert seen["weight_norm"].item() == pytest.approx(torch.cat([x.flatten() for x in before]).norm().item(), rel=1e-5)
    each = b.metrics(each=True)
    for k, x in seen.items():
        assert each[k].square().sum().sqrt().item() == pytest.approx(x.item(), rel=1e-6)
    lengths = [p.grad.double().norm().item() for p in params]
    assert each["grad_norm"].tolist() == pytest.approx(lengths, rel=1e-5)


@every_program
@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("bad", [torch.nan, *slow(torch.inf, -torch.inf)], ids=str)
def test_a_gradient_that_is_not_finite_changes_nothing(cls, backend, bad):
    opt = cls(parameters(SHAPES), backend=backend, nonfinite="skip", mods=[EMA(0.9)])
    walk(opt, 2)
    other = copy.deepcopy(opt)
    params = opt.param_groups[0]["params"]
    give(params, 2)
    params[1].grad[3, 4] = bad
    opt.step()
    assert opt.skipped == 1
    same_states(opt, other)
    walk(opt, 1, first=3)
    walk(other, 1, first=3)
    same_states(opt, other)
    assert opt.skipped == 1


@on_llvm_and_slowly_on_the_reference
@pytest.mark.parametrize("named", [False, True])
def test_the_parameter_is_named(backend, named):
    params = parameters(SHAPES)
    given = [(f"layer{i}.weight", p) for i, p in enumerate(params)] if named else params
    opt = ravine.AdamW(given, nonfinite="raise", mods=[ClipNorm(1.0)], backend=backend)
    walk(opt, 2)
    before = copy.deepcopy(opt)
    give(params, 2)
    params[2].grad[4999] = torch.inf
    who = "'layer2.weight'" if named else "parameter 2"
    with pytest.raises(
        FloatingPointError, match=rf"AdamW: the gradient of {who} of shape \(5000,\) is NaN or infinite"
    ):
        opt.step()
    same_states(opt, before)
    assert opt.skipped == 1


def test_large_gradients_are_finite_though_their_squares_are_not():
    opt = ravine.SGD(parameters(SHAPES), lr=1e-25, nonfinite="raise")
    give(opt.param_groups[0]["params"], 0, scale=1e25)
    opt.step()


def test_all_groups_wait_for_the_guard():
    a, b = parameters([(70, 70)]), parameters([(80,)], seed=1)
    opt = ravine.SGD([{"params": a}, {"params": b, "mods": [ClipNorm(1.0)]}], lr=0.1, nonfinite="skip")
    walk(opt, 1)
    before = [p.detach().clone() for p in (*a, *b)]
    give([*a, *b], 1)
    b[0].grad[3] = torch.nan
    opt.step()
    for p, old in zip((*a, *b), before, strict=True):
        equal(p.detach(), old)
    with pytest.raises(ValueError, match="nonfinite is the whole optimizer's"):
        opt.add_param_group({"params": parameters([(3,)]), "nonfinite": "ignore"})


@pytest.mark.parametrize(
    ("mods", "share"), [([ClipNorm(1.0)], 1.0), ([ClipNorm(1e9)], 0.0), ([ClipValue(1.0)], 0.3173), ([], None)]
)
def test_the_share_of_clipped_elements(mods, share):
    opt = ravine.SGD(parameters([(300, 300)]), mods=mods, measured=True)
    walk(opt, 1)
    seen = opt.metrics().get("clipped")
    assert share == (None if seen is None else pytest.approx(seen.item(), abs=0.01))


def test_only_measured_groups_count():
    a, b = parameters([(10, 10)]), parameters([(30, 30)], seed=1)
    opt = ravine.SGD([{"params": b}, {"params": a, "measured": True}], mods=[ClipNorm(1e-3)])
    walk(opt, 1)
    assert opt.metrics()["clipped"] == 1
    unseen, seen = opt.metrics(each=True)["clipped"].tolist()
    assert unseen != unseen and seen == 1


def test_a_skipped_step_has_no_metrics():
    opt = ravine.SGD(parameters([(10, 10)]), measured=True, nonfinite="skip")
    (p,) = walk(opt, 1)
    assert opt.metrics()
    p.grad[0] = torch.nan
    opt.step()
    assert opt.metrics() == {}
    walk(opt, 1)
    opt.eval()
    opt.train()
    assert opt.metrics()


def test_a_resumed_run_keeps_its_guard():
    opt = ravine.SGD(parameters([(10, 10)]), measured=True, nonfinite="skip")
    opt.load_state_dict(ravine.SGD(parameters([(10, 10)])).state_dict())
    assert opt.param_groups[0]["nonfinite"] == "skip" and opt.param_groups[0]["measured"]
    opt.add_param_group({"params": parameters([(3,)])})
    opt.param_groups[0]["nonfinite"] = "ignore"
    with pytest.raises(ValueError, match="nonfinite is ignore and skip in its groups, and must be one for all"):
        walk(opt, 1)


@pytest.mark.parametrize("hyper", [{"nonfinite": "skip"}, {"measured": True}], ids=str)
def test_sparse_gradients_name_the_option(hyper):
    table = torch.nn.Embedding(10, 4, sparse=True)
    table(torch.tensor([3])).sum().backward()
    (name,) = hyper
    with pytest.raises(RuntimeError, match=f"has a sparse gradient, and {name}=.* sums over whole ones; leave it out"):
        ravine.Adam(table.parameters(), **hyper).step()


def test_metrics_need_to_be_asked_for_and_a_step():
    opt = ravine.SGD(parameters([(3,)]))
    with pytest.raises(RuntimeError, match=r"metrics\(\) needs SGD\(…, measured=True\)"):
        opt.metrics()
    with pytest.raises(RuntimeError, match="make one first"):
        ravine.SGD(parameters([(3,)]), measured=True).metrics()


@every_program
@on_llvm_and_slowly_on_the_reference
def test_the_scale_of_the_loss_is_taken_out_in_the_pass(cls, backend):
    """As torch.amp.GradScaler asks, and without changing the gradients."""
    a, b = pair(cls, backend)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for t in range(3):
        give(params := a.param_groups[0]["params"], t)
        give(scaled := b.param_groups[0]["params"], t)
        scaler.scale(torch.ones(1))
        for p in scaled:
            p.grad *= 1024
        kept = [p.grad.clone() for p in scaled]
        a.step()
        scaler.step(b)
        scaler.update()
        for p, q, g in zip(params, scaled, kept, strict=True):
            near(p, q, 1e-6)
            equal(q.grad, g)
    give(scaled, 3)
    scaled[0].grad[0] = torch.inf
    before = copy.deepcopy(b)
    scaler.step(b)
    assert b.skipped == 1
    same_states(b, before)
    assert "grad_scale" not in b.param_groups[0]
