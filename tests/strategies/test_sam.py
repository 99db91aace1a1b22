"""SAM and ASAM against their papers, davda54/sam and pytorch_optimizer; faults, scalers, accumulation, checkpoints."""

import json
import sys
from pathlib import Path

import pytest
import pytorch_optimizer
import torch
from torch import nn
from walks import closure_at, copy, equal, give, near, slope, start, through_a_file, walk

import ravine
from ravine.strategies import ASAM, SAM, Lookahead

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "authors"))
import trajectory  # noqa: E402

FORMS = [
    (SAM, {"rho": 0.3}, (0.3, False, 0.0)),
    (SAM, {"rho": 0.5, "adaptive": True}, (0.5, True, 0.0)),
    (ASAM, {}, (0.5, True, 0.01)),
]
forms = pytest.mark.parametrize(("cls", "own", "meant"), FORMS, ids=["sam", "adaptive", "asam"])


def uphill(params, t, rho, adaptive, eta):
    """The papers' e, plainly."""
    g = [slope(p, t) for p in params]
    T = [p.detach().abs() + eta if adaptive else torch.ones_like(p) for p in params]
    norm = sum(((a * b) ** 2).sum() for a, b in zip(T, g, strict=True)).sqrt()
    return [rho * a * a * b / norm for a, b in zip(T, g, strict=True)]


# the papers


@forms
@pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])
def test_algorithm_1(cls, own, meant, library):
    params, w = start(), [p.detach().clone() for p in start()]
    opt = cls(library.SGD(params, lr=0.1), **own)
    for t in range(30):
        e = uphill(w, t, *meant)
        w = [x - 0.1 * slope(x + d, t) for x, d in zip(w, e, strict=True)]
        opt.step(closure_at(opt, params, t))
        near(params, w, 1e-12)


@forms
def test_the_two_calls_are_the_closure(cls, own, meant):
    params, others = start(), start()
    a, b = cls(ravine.Adam(params, lr=0.05), **own), cls(ravine.Adam(others, lr=0.05), **own)
    for t in range(20):
        a.step(closure_at(a, params, t))
        closure_at(b, others, t)()
        before = [p.detach().clone() for p in others]
        b.first_step(zero_grad=True)
        near(others, [x + e for x, e in zip(before, uphill(before, t, *meant), strict=True)])
        assert all(p.grad is None for p in others)
        equal([b.kept[p]["before"] for p in others], before)
        closure_at(b, others, t)()
        b.second_step(zero_grad=True)
        assert not any(b.kept.values())
    equal(params, others)


def test_rho_0_is_the_driven_optimizer():
    params, others = start(), start()
    opt, plain = SAM(ravine.Adam(params, lr=0.05), rho=0.0), ravine.Adam(others, lr=0.05)
    for t in range(10):
        opt.step(closure_at(opt, params, t))
        plain.zero_grad()
        plain.step(closure_at(plain, others, t))
    equal(params, others)


def test_the_perturbation_is_as_long_as_rho_over_all_groups():
    params = start()
    opt = SAM(ravine.SGD([{"params": [p]} for p in params], lr=0.1), rho=0.07)
    give(params, 0)
    opt.first_step()
    length = sum(((p.detach() - q.detach()) ** 2).sum() for p, q in zip(params, start(), strict=True)).sqrt()
    assert float(length) == pytest.approx(0.07, rel=1e-12)


def test_asam_does_not_see_a_rescaled_layer():
    """Kwon, Theorem 1: with η = 0 a network whose layers are rescaled has the same perturbed loss."""

    def loss_after(c):
        u, v = (
            nn.Parameter(x) for x in (torch.tensor([0.5, -1.0]).double() * c, torch.tensor([2.0, 0.3]).double() / c)
        )
        opt = ASAM(ravine.SGD([u, v]), rho=0.4, eta=0.0)
        torch.tanh(u * v).sum().backward()
        opt.first_step()
        return float(torch.tanh(u * v).detach().sum())

    assert loss_after(10.0) == pytest.approx(loss_after(1.0), rel=1e-12)


def test_maximize_goes_to_the_least_loss_near_by():
    params, others = start(), start()
    up, down = SAM(ravine.SGD(params, lr=0.1, maximize=True)), SAM(ravine.SGD(others, lr=0.1))
    for t in range(10):
        for opt, mine, sign in ((up, params, -1), (down, others, 1)):
            for step in (opt.first_step, opt.second_step):
                for p in mine:
                    p.grad = sign * slope(p, t)
                step()
    near(params, others)


# other libraries


RECORDED = {
    "sam": (SAM, {"rho": 0.05}),
    "asam": (SAM, {"rho": 0.5, "adaptive": True}),
    "asam-authors": (ASAM, {"rho": 0.5, "eta": 0.01}),
}


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_path_of_davda54_and_of_asams_authors(name):
    record = json.loads((HERE / "recorded" / f"{name}.json").read_text())
    params = trajectory.start()
    cls, own = RECORDED[name]
    opt = cls(ravine.SGD(params, lr=0.1, momentum=0.9), **own)
    path = []
    for t in range(max(record["steps"])):
        for step in (opt.first_step, opt.second_step):
            for k, p in enumerate(params):
                p.grad = trajectory.slope(p, k, t)
            step(zero_grad=True)
        if t + 1 in record["steps"]:
            path.append([p.detach().flatten().tolist() for p in params])
    assert trajectory.apart(path, record["path"]) < 1e-10


@pytest.mark.parametrize("adaptive", [False, True])
def test_pytorch_optimizers_path(adaptive):
    params, others = start(), start()
    opt = SAM(ravine.AdamW(params, lr=0.05, weight_decay=0.1), rho=0.2, adaptive=adaptive)
    hyper = {"lr": 0.05, "weight_decay": 0.1, "foreach": False}
    other = pytorch_optimizer.SAM(others, torch.optim.AdamW, rho=0.2, adaptive=adaptive, **hyper)
    for t in range(30):
        opt.step(closure_at(opt, params, t))
        other.zero_grad()
        closure_at(other, others, t)()
        other.step(closure_at(other, others, t))
        other.zero_grad()
    near(params, others, 1e-7)  # they sum the norm in float32


# faults


class Oops(Exception):
    pass


@forms
def test_an_exception_puts_the_weights_back_bit_for_bit(cls, own, meant):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for at in (0, 1):
            params = start(dtype)
            opt = cls(ravine.Adam(params), **own)
            calls = []

            def closure(calls=calls, params=params, at=at):
                give(params, 0)
                calls.append([p.detach().clone() for p in params])
                if len(calls) == at + 1:
                    raise Oops

            with pytest.raises(Oops):
                opt.step(closure)
            equal(params, start(dtype))
            assert not opt.open and not opt.optimizer.state
            if at == 1:
                assert not torch.equal(calls[1][0], calls[0][0])
            opt.step(lambda params=params: give(params, 1))


def test_a_zero_gradient_and_none():
    params = start()
    opt = SAM(ravine.SGD(params, lr=0.1))
    for p in params:
        p.grad = torch.zeros_like(p)
    opt.first_step()
    equal(params, start())
    opt.second_step()
    equal(params, start())
    for p in params:
        p.grad = None
    opt.step(lambda: None)
    equal(params, start())


def test_what_is_not_finite_moves_nothing_uphill():
    for bad in (torch.inf, torch.nan):
        params = start()
        opt = SAM(ravine.SGD(params, lr=0.1))
        give(params, 0)
        params[0].grad[0, 0] = bad
        opt.first_step()
        equal(params, start())
        opt.restore()
        equal(params, start())


def test_steps_in_another_order():
    params = start()
    opt = SAM(ravine.SGD(params, lr=0.1))
    give(params, 0)
    for wrong in (opt.step, opt.second_step):
        with pytest.raises(RuntimeError, match="SAM needs two gradients"):
            wrong()
    opt.first_step()
    with pytest.raises(RuntimeError, match="a first step is open"):
        opt.first_step()
    equal([opt.state[p]["sam.before"] for p in params], start())


def test_what_is_refused():
    opt = ravine.SGD(start(), lr=0.1)
    for own in ({"rho": -1.0}, {"rho": float("nan")}, {"eta": -1.0}):
        with pytest.raises(ValueError, match=f"SAM: {next(iter(own))} is"):
            SAM(opt, **own)
    p = nn.Parameter(torch.ones(3, 2))
    p.grad = torch.ones(3, 2).to_sparse(1)
    with pytest.raises(RuntimeError, match="dense gradients only"):
        SAM(ravine.SGD([p], lr=0.1)).first_step()
    with pytest.raises(TypeError, match="cannot drive another"):
        SAM(ASAM(opt))


# scalers, accumulation


def test_grad_scaler():
    """Beside SAM without one: the same path; where either pass finds an infinity, the weights come back."""
    params, others = start(torch.float32), start(torch.float32)
    opt, plain = SAM(ravine.Adam(params, lr=0.05), rho=0.2), SAM(ravine.Adam(others, lr=0.05), rho=0.2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    bad = {3: "first", 5: "second", 6: "both"}
    for t in range(10):
        before = [p.detach().clone() for p in params]
        for which in ("first", "second"):
            loss = sum((torch.sin(3 * p + 0.7 * t) / 3 + 0.25 * p**2).sum() for p in params)
            scaler.scale(loss * (float("inf") if bad.get(t) in (which, "both") else 1.0)).backward()
            if which == "first":
                opt.first_step(zero_grad=True)
        if t == 8:
            scaler.unscale_(opt)  # for clipping, say
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        assert not opt.open
        if bad.get(t) in ("second", "both"):
            equal(params, before)
        elif t not in bad:
            plain.step(closure_at(plain, others, t))
            near(params, others, 1e-5)
        else:  # a step at w itself: no perturbation could be found
            give(others, t)
            plain.optimizer.step()
            near(params, others, 1e-5)
    assert scaler.get_scale() == 1024.0 / 4


def test_accumulation_over_parts_of_a_batch():
    torch.manual_seed(0)
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 1, dtype=torch.float64)
    models = [nn.Linear(3, 1).double() for _ in range(3)]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    whole, two, inside = (SAM(ravine.SGD(m.parameters(), lr=0.1, momentum=0.9)) for m in models)

    def backward(model, parts):
        for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True):
            ((model(a) - b).square().mean() / parts).backward()

    for _ in range(10):
        whole.step(lambda: backward(models[0], 1))
        inside.step(lambda: backward(models[2], 4))
        backward(models[1], 4)
        two.first_step(zero_grad=True)
        backward(models[1], 4)
        two.second_step(zero_grad=True)
    near(models[1].parameters(), models[0].parameters())
    near(models[2].parameters(), models[0].parameters())


# state


@forms
@pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])
def test_a_checkpoint_between_the_two_steps(cls, own, meant, library):
    params, others = start(torch.float32), start(torch.float32)
    opt = cls(library.Adam(params, lr=0.05), **own)
    for t in range(5):
        opt.step(closure_at(opt, params, t))
    give(params, 5)
    opt.first_step(zero_grad=True)
    other = cls(library.Adam(others), rho=0.9)
    copy(others, params)
    other.load_state_dict(through_a_file(opt.state_dict()))
    assert (other.rho, other.adaptive, other.eta) == meant and other.open
    for o, mine in ((opt, params), (other, others)):
        give(mine, 5)
        o.second_step()
        for t in range(6, 9):
            o.step(closure_at(o, mine, t))
    equal(params, others)


@pytest.mark.parametrize("cls", [ravine.Adan, lambda ps: ravine.Momentum(ps, lr=0.01, form="polyak")])
def test_a_rule_may_call_a_state_before_too(cls):
    def step(opt, p):
        opt.zero_grad()
        opt.step(lambda: (p**2).sum().backward())

    p = nn.Parameter(torch.ones(3))
    opt = SAM(cls([p]))
    for _ in range(3):
        step(opt, p)
    q = nn.Parameter(p.detach().clone())
    other = SAM(cls([q]))
    other.load_state_dict(opt.state_dict())
    assert not other.open
    step(opt, p)
    step(other, q)
    assert torch.equal(p, q)


def test_no_sam_is_driven_by_another():
    opt = ravine.SGD(start(), lr=0.1)
    for make in (lambda: ASAM(SAM(opt)), lambda: SAM(ASAM(opt))):
        with pytest.raises(TypeError, match="cannot drive another"):
            make()


def test_the_loss_of_a_closure_may_have_a_graph():
    p = nn.Parameter(torch.ones(3))

    def closure():
        loss = (p**2).sum()
        loss.backward()
        return loss

    ravine.MoMo([p]).step(closure)
    assert (p != 1).all()


def test_a_state_of_asam_is_not_sams():
    with pytest.raises(ValueError, match="not a state_dict of SAM"):
        SAM(ravine.SGD(start())).load_state_dict(ASAM(ravine.SGD(start())).state_dict())


def test_sam_over_lookahead():
    def make():
        params = start()
        return SAM(Lookahead(ravine.Adam(params, lr=0.05), k=3), rho=0.1), params

    (opt, params), (other, others) = make(), make()
    for t in range(4):
        opt.step(closure_at(opt, params, t))
    copy(others, params)
    other.load_state_dict(through_a_file(opt.state_dict()))
    for t in range(4, 9):
        opt.step(closure_at(opt, params, t))
        other.step(closure_at(other, others, t))
    equal(params, others)
    assert opt.optimizer.count == other.optimizer.count == 0


def test_schedules_and_hooks_and_the_loss():
    params = start()
    opt, called = SAM(ravine.SGD(params, lr=0.1)), []
    plan = torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)
    opt.register_step_pre_hook(lambda *_: called.append(1))
    expected = closure_at(opt, params, 0)().item()
    assert opt.step(closure_at(opt, params, 0)).item() == expected  # the loss at w
    plan.step()
    assert opt.optimizer.param_groups[0]["lr"] == 0.05 and called == [1]
    walk(opt.optimizer, params, 1)
    opt.eval()
    opt.train()


def test_a_rule_that_needs_the_loss_is_given_it():
    class Polyak(ravine.Optimizer):
        def update(self, s, p, g, t, loss):
            return p - self.lr * loss * g

    params = start()
    opt = SAM(Polyak(params, lr=0.1), rho=0.2)
    losses = []

    def closure():
        losses.append(closure_at(opt, params, 0)().detach())
        return losses[-1]

    before = [p.detach().clone() for p in params]
    opt.step(closure)
    assert len(losses) == 2
    near(params, [q - 0.1 * losses[1].item() * p.grad for p, q in zip(params, before, strict=True)])
