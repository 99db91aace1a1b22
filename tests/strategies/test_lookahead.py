"""Lookahead against its paper and two other libraries; its state through files, groups and schedules."""

import copy as copying
import json
import pickle
import sys
from pathlib import Path

import pytest
import pytorch_optimizer
import torch
import torch_optimizer
from torch import nn
from walks import copy, equal, give, near, slope, start, through_a_file, walk

import ravine
from ravine.strategies import SAM, Lookahead

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "authors"))
import trajectory  # noqa: E402

INNER = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Adam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.1}),
]
inner = pytest.mark.parametrize(("name", "hyper"), INNER, ids=[x for x, _ in INNER])


def made(name, hyper, library=ravine.optim, **own):
    params = start()
    return Lookahead(getattr(library, name)(params, **hyper), **own), params


# the paper


@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (6, 0.8), (1, 0.3), (3, 1.0), (4, 0.0)])
def test_algorithm_1(k, alpha):
    opt, params = made("SGD", {"lr": 0.1}, k=k, alpha=alpha)
    phi = [p.detach().clone() for p in params]
    for outer in range(4):
        theta = [x.clone() for x in phi]
        for i in range(k):
            t = outer * k + i
            theta = [x - 0.1 * slope(x, t) for x in theta]
            if i == k - 1:
                phi = [x + alpha * (y - x) for x, y in zip(phi, theta, strict=True)]
            give(params, t)
            opt.step()
            near(params, theta if i < k - 1 else phi)
            near([opt.state[p]["lookahead.slow"] for p in params], phi)


@inner
def test_alpha_1_is_the_driven_optimizer(name, hyper):
    opt, params = made(name, hyper, alpha=1.0)
    alone = start()
    walk(opt, params, 17)
    equal(params, walk(getattr(ravine, name)(alone, **hyper), alone, 17))


def test_alpha_0_never_leaves():
    opt, params = made("Adam", {"lr": 0.1}, alpha=0.0)
    equal(walk(opt, params, 10), start())


def test_the_slow_weights_keep_a_part_of_the_noise():
    """Proposition 2: on a noisy bowl their variance is that of SGD times a factor below 1."""

    def variance(alpha):
        p = nn.Parameter(torch.zeros(20_000, dtype=torch.float64))
        made_at = torch.Generator().manual_seed(0)
        opt = Lookahead(ravine.SGD([p], lr=0.5), k=5, alpha=alpha)
        for _ in range(200):
            p.grad = p.detach() - torch.randn(p.shape, generator=made_at, dtype=torch.float64)
            opt.step()
        return float(p.detach().var())

    a, k, rate = 0.5, 5, 0.5
    shrink = (1 - rate) ** (2 * k)
    inner_variance = rate**2 / (1 - (1 - rate) ** 2)
    slow = a**2 * (1 - shrink) / (a**2 * (1 - shrink) + 2 * a * (1 - a) * (1 - (1 - rate) ** k)) * inner_variance
    assert variance(1.0) == pytest.approx(inner_variance, rel=0.05)
    assert variance(a) == pytest.approx(slow, rel=0.05)
    assert slow < inner_variance


# other libraries


@pytest.mark.parametrize(("name", "own"), [("lookahead", {}), ("lookahead-reset", {"inner_state": "reset"})])
def test_the_recorded_path_of_the_authors(name, own):
    record = json.loads((HERE / "recorded" / f"{name}.json").read_text())
    params = trajectory.start()
    opt = Lookahead(ravine.SGD(params, lr=0.1, momentum=0.9), k=5, alpha=0.5, **own)
    assert trajectory.apart(trajectory.path(params, lambda at: opt.step()), record["path"]) < 1e-10


@inner
@pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])
def test_pytorch_optimizers_path(name, hyper, library):
    opt, params = made(name, hyper, library, k=4, alpha=0.6)
    others = start()
    other = pytorch_optimizer.Lookahead(getattr(torch.optim, name)(others, **hyper), k=4, alpha=0.6)
    for t in range(30):
        give(params, t)
        give(others, t)
        opt.step()
        other.step()
        near(params, others, 1e-6 if name == "NAdam" else 1e-10)  # torch keeps NAdam's product in float32


@pytest.mark.parametrize(("ours", "theirs"), [("interpolate", "pullback"), ("reset", "reset")])
@pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])
def test_pytorch_optimizers_momentum(ours, theirs, library):
    hyper = {"lr": 0.05, "momentum": 0.9}
    opt, params = made("SGD", hyper, library, inner_state=ours)
    others = start()
    other = pytorch_optimizer.Lookahead(torch.optim.SGD(others, **hyper), pullback_momentum=theirs)
    for t in range(30):
        give(params, t)
        give(others, t)
        opt.step()
        other.step()
        near(params, others, 1e-10)


def test_torch_optimizers_path_from_its_second_step():
    """Its slow weights begin after the first step, and its cycles end after steps 1, 1 + k …"""
    others, params = start(), start()
    other = torch_optimizer.Lookahead(torch.optim.Adam(others, lr=0.05), k=5, alpha=0.5)
    adam = ravine.Adam(params, lr=0.05)
    walk(adam, params, 1)
    opt = Lookahead(adam, k=5, alpha=0.5)
    walk(other, others, 1)
    for t in range(1, 25):
        give(params, t)
        give(others, t)
        opt.step()
        other.step()
        near(params, others, 1e-10)


# the driven optimizer's state


def test_reset_begins_anew():
    opt, params = made("Adam", {"lr": 0.05}, k=3, inner_state="reset")
    walk(opt, params, 3)
    assert not opt.optimizer.state[params[0]]
    fresh = [nn.Parameter(p.detach().clone()) for p in params]
    walk(opt, params, 2, first=3)
    equal(params, walk(ravine.Adam(fresh, lr=0.05), fresh, 2, first=3))


def test_interpolate_draws_states_back_and_leaves_counts():
    opt, params = made(
        "Adagrad", {"lr": 0.1, "initial_accumulator_value": 2.0}, k=3, alpha=0.25, inner_state="interpolate"
    )
    plain, others = made("Adagrad", {"lr": 0.1, "initial_accumulator_value": 2.0}, k=3, alpha=0.25)
    walk(opt, params, 3)
    walk(plain, others, 3)
    for p, q in zip(params, others, strict=True):
        near([opt.optimizer.state[p]["sum"]], [2.0 + 0.25 * (plain.optimizer.state[q]["sum"] - 2.0)])
        assert float(opt.optimizer.state[p]["step"]) == 3


def test_reset_leaves_an_average_that_a_modifier_keeps():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    opt = Lookahead(ravine.SGD([p], lr=0.1, momentum=0.9, mods=[ravine.mods.EMA(0.5)]), k=2, inner_state="reset")
    for _ in range(4):
        opt.step()
    state = opt.optimizer.state[p]
    assert state.keys() == {"ema_average", "step"} and state["step"] == 0
    opt.step()
    assert state["step"] == 1 and torch.equal(state["momentum_buffer"], p.grad)


# state


@inner
@pytest.mark.parametrize("inner_state", ["maintain", "reset", "interpolate"])
@pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])
@pytest.mark.parametrize("steps", [0, 3, 5, 7])
def test_a_checkpoint_anywhere_continues_bit_for_bit(name, hyper, inner_state, library, steps):
    if library is torch.optim and name == "NAdam":
        pytest.skip("torch itself rounds its product of momenta when it loads a state")
    opt, params = made(name, hyper, library, inner_state=inner_state)
    walk(opt, params, steps)
    other, others = made(
        name, hyper if library is torch.optim else {}, library, k=2
    )  # torch's Adagrad asks its defaults
    if steps:
        walk(other, others, 1)
    copy(others, params)
    other.load_state_dict(through_a_file(opt.state_dict()))
    assert (other.k, other.count, other.inner_state) == (5, steps % 5, inner_state)
    walk(opt, params, 9, first=steps)
    walk(other, others, 9, first=steps)
    equal(params, others)
    equal([opt.state[p]["lookahead.slow"] for p in params], [other.state[q]["lookahead.slow"] for q in others])


def test_a_state_in_low_precision_keeps_its_bits():
    params, others = start(torch.bfloat16), start(torch.bfloat16)
    opt = Lookahead(ravine.AdamW(params, storage="float32"), k=4, inner_state="interpolate")
    other = Lookahead(ravine.AdamW(others, storage="float32"), k=4, inner_state="interpolate")
    walk(opt, params, 6)
    copy(others, params)
    other.load_state_dict(through_a_file(opt.state_dict()))
    walk(opt, params, 6, first=6)
    walk(other, others, 6, first=6)
    equal(params, others)


def test_names_find_their_parameters_in_another_order():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    opt = Lookahead(ravine.Adam(a.named_parameters()))
    other = Lookahead(ravine.Adam(list(b.named_parameters())[::-1]))
    walk(opt, list(a.parameters()), 3)
    b.load_state_dict(a.state_dict())
    other.load_state_dict(through_a_file(opt.state_dict()))
    walk(opt, list(a.parameters()), 5, first=3)
    walk(other, list(b.parameters()), 5, first=3)
    equal(a.parameters(), b.parameters())


def test_copies_and_pickles():
    opt, params = made("Adam", {"lr": 0.05})
    walk(opt, params, 3)
    for twin in (copying.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        others = twin.params
        assert twin.param_groups is twin.optimizer.param_groups and others[0] is not params[0]
        mine = copying.deepcopy(opt)
        walk(twin, others, 4, first=3)
        equal(others, walk(mine, mine.params, 4, first=3))


def test_states_of_others_are_refused_and_nothing_changes():
    opt, params = made("Adam", {"lr": 0.05})
    walk(opt, params, 3)
    before = through_a_file(opt.state_dict())
    with pytest.raises(
        ValueError, match="not a state_dict of Lookahead; if it is one of Adam, load it into the Adam that is driven"
    ):
        opt.load_state_dict(opt.optimizer.state_dict())
    wrong = through_a_file(before)
    wrong["state"][0]["lookahead.slow"] = torch.zeros(2)
    with pytest.raises(ValueError, match="slow of parameter 0 has shape"):
        opt.load_state_dict(wrong)
    with pytest.raises(ValueError, match="group"):
        opt.load_state_dict({**before, "param_groups": before["param_groups"] * 2})
    assert str(opt.state_dict()) == str(before)


# torch's interface


def test_eval_shows_the_slow_weights_and_train_brings_back_the_fast():
    opt, params = made("Adam", {"lr": 0.05})
    walk(opt, params, 7)
    fast = [p.detach().clone() for p in params]
    for _ in range(2):
        opt.eval()
        equal(params, [opt.state[p]["lookahead.slow"] for p in params])
    assert not torch.equal(params[0], fast[0])
    with pytest.raises(RuntimeError, match=r"train\(\) before step\(\)"):
        opt.step()
    saved = through_a_file(opt.state_dict())  # in this mode too
    other, others = made("Adam", {"lr": 0.05})
    copy(others, params)
    other.load_state_dict(saved)
    for _ in range(2):
        opt.train()
        other.train()
    equal(params, fast)
    equal(others, fast)


def test_schedules_groups_hooks_and_closures():
    params = start()
    opt = Lookahead(ravine.SGD([{"params": params[:1], "lr": 0.5}, {"params": params[1:2]}], lr=0.1), k=2)
    plan = torch.optim.lr_scheduler.StepLR(opt, 1, 0.1)
    assert isinstance(opt, torch.optim.Optimizer) and opt.param_groups is opt.optimizer.param_groups
    called = []
    opt.register_step_post_hook(lambda *_: called.append("after"))
    opt.register_state_dict_post_hook(lambda o, d: {**d, "more": 1})
    give(params, 0)
    before = params[1].detach().clone()
    assert opt.step(lambda: 7.0) == 7.0
    plan.step()
    assert [round(g["lr"], 9) for g in opt.optimizer.param_groups] == [0.05, 0.01]
    near([params[1]], [before - 0.1 * params[1].grad])
    opt.add_param_group({"params": params[2:]})
    give(params, 1)
    opt.step()
    assert called == ["after", "after"] and opt.state_dict()["more"] == 1
    assert "lookahead.slow" in opt.state[params[2]] and len(opt.param_groups) == 3
    opt.zero_grad()
    assert all(p.grad is None for p in params)


def test_grad_scaler_skips_without_counting():
    params = start(torch.float32)
    opt = Lookahead(ravine.SGD(params, lr=0.1), k=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for t in range(3):
        opt.zero_grad()
        scaler.scale(sum(p.sum() for p in params) * (float("inf") if t == 1 else 1.0)).backward()
        scaler.step(opt)
        scaler.update()
        assert opt.count == [1, 1, 0][t]
    near(params, [p - 0.1 for p in start(torch.float32)], 1e-6)


def test_parameters_without_gradients_and_frozen_ones():
    params = start()
    params[2].requires_grad_(False)
    opt = Lookahead(ravine.Adam(params), k=2)
    for t in range(4):
        give(params, t)
        params[1].grad = params[2].grad = None
        opt.step()
    equal(params[1:], start()[1:])
    assert "lookahead.slow" not in opt.state.get(params[2], {})


def test_what_is_refused():
    opt = ravine.SGD(start(), lr=0.1)
    for own in ({"k": 0}, {"k": 2.5}, {"k": True}, {"alpha": 1.5}, {"alpha": -0.1}, {"inner_state": "pullback"}):
        with pytest.raises((ValueError, TypeError), match=f"Lookahead: {next(iter(own))} is"):
            Lookahead(opt, **own)
    with pytest.raises(TypeError, match="drives an optimizer"):
        Lookahead(start())
    with pytest.raises(TypeError, match="cannot drive another"):
        Lookahead(Lookahead(opt))
    with pytest.raises(TypeError, match=r"SAM\(Lookahead\(opt\)\)"):
        Lookahead(SAM(opt))


def test_what_another_optimizer_keeps_as_master_is_not_touched():
    """apex and others keep float32 weights under that name."""
    p = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    opt = Lookahead(torch.optim.SGD([p], lr=0.5), k=1)
    opt.optimizer.state[p]["master"] = kept = torch.full((4,), 7.0)
    p.grad = torch.ones_like(p)
    opt.step()
    assert p.tolist() == [0.75] * 4 and kept.tolist() == [7.0] * 4
