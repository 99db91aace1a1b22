"""GSAM against its paper, pytorch_optimizer's and SAM; faults, scalers and checkpoints."""

import pytest
import pytorch_optimizer
import torch
from torch import nn
from walks import closure_at, copy, equal, give, near, slope, start, through_a_file

import ravine
from ravine.strategies import GSAM, SAM

libraries = pytest.mark.parametrize("library", [ravine.optim, torch.optim], ids=["ravine", "torch"])


def dot(a, b):
    return sum((x * y).sum() for x, y in zip(a, b, strict=True))


def aimed(w, t, rho, alpha):
    """The paper's gradient: ∇f_p − α ∇f_⊥."""
    h = [slope(x, t) for x in w]
    d = [slope(x + rho * y / dot(h, h).sqrt(), t) for x, y in zip(w, h, strict=True)]
    cosine = dot(h, d) / (dot(h, h).sqrt() * dot(d, d).sqrt())
    off = [x - dot(h, h).sqrt() * cosine * y / dot(d, d).sqrt() for x, y in zip(h, d, strict=True)]
    return [x - alpha * y for x, y in zip(d, off, strict=True)], off, d


@libraries
def test_algorithm_1(library):
    params, w = start(), [p.detach().clone() for p in start()]
    opt = GSAM(library.SGD(params, lr=0.1), rho=0.3, alpha=0.7)
    for t in range(20):
        step, off, d = aimed(w, t, 0.3, 0.7)
        assert abs(dot(off, d)) < 1e-12 and dot(off, off) > 1e-4
        w = [x - 0.1 * g for x, g in zip(w, step, strict=True)]
        opt.step(closure_at(opt, params, t))
        near(params, w)
        assert not any(opt.kept.values())


@libraries
def test_rho_follows_the_rate_as_the_authors_scheduler_does(library):
    params, others = start(), start()
    line = {"rho_min": 0.1, "lr_min": 0.02, "lr_max": 0.1}
    a = GSAM(library.SGD(params, lr=0.1), rho=0.5, alpha=0.7, **line)
    b = GSAM(library.SGD(others, lr=0.1), rho=0.5, alpha=0.7)
    for t, (lr, rho) in enumerate([(0.1, 0.5), (0.06, 0.3), (0.02, 0.1), (0.14, 0.7), (0.0, 0.0)]):
        for opt in (a, b):
            opt.param_groups[0]["lr"] = lr
        b.rho = rho
        a.step(closure_at(a, params, t))
        b.step(closure_at(b, others, t))
        assert abs(a.radius - rho) < 1e-15
        near(params, others)
    again = GSAM(library.SGD(start(), lr=0.1))
    again.load_state_dict(a.state_dict())
    assert (again.rho_min, again.lr_min, again.lr_max) == (0.1, 0.02, 0.1)
    for wrong in ({"lr_min": 0.1, "lr_max": 0.1}, {"rho_min": 0.1}, {"lr_min": 0.1}):
        with pytest.raises(ValueError, match="lr_max must be above lr_min"):
            GSAM(library.SGD(start(), lr=0.1), **wrong)


def test_the_two_calls_are_the_closure():
    params, others = start(), start()
    a, b = GSAM(ravine.Adam(params, lr=0.05)), GSAM(ravine.Adam(others, lr=0.05))
    for t in range(10):
        a.step(closure_at(a, params, t))
        closure_at(b, others, t)()
        b.first_step(zero_grad=True)
        closure_at(b, others, t)()
        b.second_step(zero_grad=True)
    equal(params, others)


@pytest.mark.parametrize("adaptive", [False, True])
def test_alpha_0_is_sam(adaptive):
    params, others = start(), start()
    a = GSAM(ravine.Adam(params, lr=0.05), rho=0.2, alpha=0.0, adaptive=adaptive)
    b = SAM(ravine.Adam(others, lr=0.05), rho=0.2, adaptive=adaptive)
    for t in range(10):
        a.step(closure_at(a, params, t))
        b.step(closure_at(b, others, t))
    equal(params, others)


@pytest.mark.parametrize("adaptive", [False, True])
def test_pytorch_optimizers_path(adaptive):
    class Fixed:
        def step(self):
            return 0.2

    params, others = start(), start()
    opt = GSAM(ravine.AdamW(params, lr=0.05, weight_decay=0.1), rho=0.2, alpha=0.4, adaptive=adaptive)
    inner = torch.optim.AdamW(others, lr=0.05, weight_decay=0.1)
    other = pytorch_optimizer.GSAM(others, inner, nn.Identity(), Fixed(), alpha=0.4, adaptive=adaptive)
    for t in range(20):
        opt.step(closure_at(opt, params, t))

        def closure(t=t):
            other.zero_grad()
            with torch.enable_grad():
                return None, closure_at(other, others, t)()

        other.step(closure)
        other.zero_grad()
    near(params, others, 1e-6)  # they sum norms in float32


def test_the_gap_narrows_and_the_worst_loss_stays_to_first_order():
    """Along −v the loss at w + e does not change, and that at w rises."""
    params = start()
    w = [p.detach().clone() for p in params]
    _, off, d = aimed(w, 3, 0.1, 1.0)
    assert abs(float(dot(off, d))) < 1e-12 < float(dot(off, [slope(x, 3) for x in w]))


def test_maximize_is_descent_on_the_negative():
    params, others = start(), start()
    up, down = GSAM(ravine.SGD(params, lr=0.1, maximize=True)), GSAM(ravine.SGD(others, lr=0.1))
    for t in range(10):
        for opt, mine, sign in ((up, params, -1), (down, others, 1)):
            for step in (opt.first_step, opt.second_step):
                for p in mine:
                    p.grad = sign * slope(p, t)
                step()
    near(params, others)


def test_gradients_of_zero_or_that_are_not_finite_have_no_part_at_right_angles():
    for first, second in ((0.0, 1.0), (1.0, 0.0), (torch.inf, 1.0), (torch.nan, 1.0)):
        p = nn.Parameter(torch.ones(3))
        opt = GSAM(ravine.SGD([p], lr=0.5))
        p.grad = torch.full_like(p, first)
        opt.first_step()
        p.grad = torch.tensor([second, 0.0, 0.0])
        opt.second_step()
        assert p.tolist() == ([0.5, 1.0, 1.0] if second else [1.0] * 3), (first, second)


def test_a_parameter_that_joins_uphill_counts_as_at_rest_before():
    p, q = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))
    opt = GSAM(ravine.SGD([p, q], lr=1.0), alpha=0.5)
    p.grad = torch.tensor([2.0])
    opt.first_step(zero_grad=True)
    p.grad, q.grad = torch.tensor([1.0]), torch.tensor([1.0])
    opt.second_step()  # h = (2, 0), d = (1, 1), v = (1, −1), d − v / 2 = (0.5, 1.5)
    assert p.tolist() == [0.5] and q.tolist() == [-0.5]


@pytest.mark.parametrize("at", [0, 1])
def test_an_exception_puts_the_weights_back_and_keeps_nothing(at):
    params, calls = start(), []
    opt = GSAM(ravine.Adam(params))

    def closure():
        give(params, 0)
        calls.append(0)
        if len(calls) == at + 1:
            raise KeyError("here")

    with pytest.raises(KeyError):
        opt.step(closure)
    equal(params, start())
    assert not opt.open and not any(opt.kept.values())


def test_grad_scaler():
    params, others = start(torch.float32), start(torch.float32)
    opt, plain = GSAM(ravine.Adam(params, lr=0.05), rho=0.2), GSAM(ravine.Adam(others, lr=0.05), rho=0.2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for t in range(6):
        before = [p.detach().clone() for p in params]
        for which in ("first", "second"):
            loss = sum((torch.sin(3 * p + 0.7 * t) / 3 + 0.25 * p**2).sum() for p in params)
            scaler.scale(loss * (float("inf") if (t, which) == (3, "second") else 1.0)).backward()
            if which == "first":
                opt.first_step(zero_grad=True)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        if t == 3:
            equal(params, before)
        else:
            plain.step(closure_at(plain, others, t))
            near(params, others, 1e-5)


@libraries
def test_a_checkpoint_between_the_two_steps(library):
    params, others = start(torch.float32), start(torch.float32)
    opt = GSAM(library.Adam(params, lr=0.05), alpha=0.9)
    for t in range(3):
        opt.step(closure_at(opt, params, t))
    give(params, 5)
    opt.first_step(zero_grad=True)
    other = GSAM(library.Adam(others), rho=0.9)
    copy(others, params)
    other.load_state_dict(through_a_file(opt.state_dict()))
    assert (other.rho, other.alpha, other.open) == (0.05, 0.9, True)
    for o, mine in ((opt, params), (other, others)):
        give(mine, 5)
        o.second_step()
        o.step(closure_at(o, mine, 6))
    equal(params, others)


def test_what_is_refused():
    opt = ravine.SGD(start(), lr=0.1)
    for own in ({"rho": -1.0}, {"alpha": -1.0}, {"alpha": float("nan")}, {"alpha": "half"}):
        with pytest.raises((ValueError, TypeError), match=f"GSAM: {next(iter(own))} is"):
            GSAM(opt, **own)
    with pytest.raises(TypeError, match="GSAM cannot drive another SAM"):
        GSAM(SAM(opt))
