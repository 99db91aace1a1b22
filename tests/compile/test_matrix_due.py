"""A matrix operation runs when it is due: every few steps, in turns, or when the tensor itself says so."""

import pytest
import torch
from matrix_rules import eigen, inverse_root, plain, steps
from torch import nn
from toys import BACKENDS, waves

import ravine
from ravine import Optimizer
from ravine.words import eye, matrix_op, norm, number, turn, where, zeros

CALLS = []


@matrix_op("n n -> n n", stack=False)
def counted(a, who=0):
    CALLS.append(a)
    return inverse_root(a, 1e-2)


class Rare(Optimizer):
    """A root that is made anew every few steps."""

    lr: float = 0.1
    interval: int = 3
    stagger: bool = False

    def init(self, s, p):
        s.L, s.P = zeros("r r"), eye("r")

    def update(self, s, p, g, t):
        s.L = s.L + g @ g.T
        s.P = counted(s.L, due=turn(t, self.interval, stagger=self.stagger), old=s.P)
        return p - self.lr * s.P @ g


def rare(interval):
    def direction(s, g, t):
        s["L"] = s.get("L", 0) + g @ g.T
        if (t - 1) % interval == 0:
            s["P"] = inverse_root(s["L"], 1e-2)
        return s["P"] @ g

    return direction


@BACKENDS
@pytest.mark.parametrize("interval", [1, 3, 100])
def test_what_is_not_due_is_not_run(interval, backend):
    CALLS.clear()
    p, _ = steps(Rare, (3, 4), backend, count=7, interval=interval)
    assert len(CALLS) == len(range(0, 7, interval))
    torch.testing.assert_close(p, plain(rare(interval), (3, 4), 7), rtol=1e-12, atol=1e-12)


@BACKENDS
def test_an_interval_of_several_results(backend):
    class Several(Optimizer):
        def init(self, s, p):
            s.w, s.Q = zeros("r"), eye("r")

        def update(self, s, p, g, t):
            s.w, s.Q = eigen(g @ g.T, due=t > 2, old=(s.w, s.Q))
            return p - self.lr * s.w * (s.Q @ g)

    _, opt = steps(Several, (3, 4), backend, count=2)
    (state,) = opt.state.values()
    assert torch.equal(state["Q"], torch.eye(3).double()) and not state["w"].any()
    _, opt = steps(Several, (3, 4), backend, count=3)
    (state,) = opt.state.values()
    g = waves((3, 4), 3)[2]
    torch.testing.assert_close(state["w"][:, 0], torch.linalg.eigvalsh(g @ g.T))


def test_a_turn_may_be_staggered_so_that_no_step_is_a_spike():
    params = [nn.Parameter(torch.ones(s)) for _ in range(24) for s in ((4, 3), (4,))]  # as layers with biases
    opt = Rare(params, interval=8, stagger=True)
    made = []
    for _ in range(25):
        for p in params:
            p.grad = torch.ones_like(p)
        CALLS.clear()
        opt.step()
        made.append(sum(a.shape == (4, 4) for a in CALLS))
    assert made[0] == 48 and made[1:9] == made[9:17] == made[17:]
    assert sum(made[1:9]) == 48 and max(made[1:]) <= 8, made


def test_a_turn_is_the_tensors_own_and_stays_when_others_have_no_gradient():
    def asked(skipped):
        params = [nn.Parameter(torch.ones(3, 2)) for _ in range(5)]
        opt = Rare(params, interval=4, stagger=True)
        found = []
        for t in range(9):
            for i, p in enumerate(params):
                p.grad = None if i in skipped else torch.full((3, 2), float(i + 1))
            CALLS.clear()
            opt.step()
            found.append({round((a[0, 0] / (t + 1) / 2).sqrt().item()) - 1 for a in CALLS})
        return found

    whole, less = asked(()), asked((1, 2))
    assert [x - {1, 2} for x in whole] == less


def test_a_tensor_may_say_itself_when_it_is_due():
    class Driven(Optimizer):
        def init(self, s, p):
            s.P = eye("r")

        def update(self, s, p, g, t):
            s.P = counted(g @ g.T, due=norm(g) > 5, old=s.P)
            return p - self.lr * s.P @ g

    CALLS.clear()
    params = [nn.Parameter(torch.ones(2, 2)) for _ in range(3)]
    opt = Driven(params)
    for i, p in enumerate(params):
        p.grad = torch.full((2, 2), 2.0 * i)
    opt.step()
    assert len(CALLS) == 1 and CALLS[0][0, 0] == 32.0


@pytest.mark.parametrize("t", range(1, 12))
@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_turn_of_plain_numbers(t, k):
    assert turn(t, k) == ((t - 1) % k == 0)


def test_a_turn_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="k is 0 and must be 1 or more"):
        turn(1, 0)


@BACKENDS
def test_a_turn_goes_with_where_too(backend):
    class Pulsed(Optimizer):
        def init(self, s, p):
            s.n = number(0.0)

        def update(self, s, p, g, t):
            s.n = s.n + where(turn(t, 3), 1, 0)
            return p - where(turn(t, 3), g, 0 * g)

    p, opt = steps(Pulsed, (2, 2), backend, count=7)
    g = waves((2, 2), 7)
    torch.testing.assert_close(p, 1 - g[0] - g[3] - g[6])
    (state,) = opt.state.values()
    assert state["n"] == 3


def test_false_and_true_are_conditions_too():
    class Never(Optimizer):
        def update(self, s, p, g, t):
            return p - counted(g @ g.T, due=False, old=g @ g.T) @ g + 0 * counted(g @ g.T, due=True) @ g

    CALLS.clear()
    steps(Never, (2, 2), count=1)
    assert len(CALLS) == 1


def test_a_scaler_and_gradient_release_make_the_same_steps():
    def walk(drive):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        opt = Rare(model.parameters(), interval=2, stagger=True)
        drive(model, opt)
        return [p.detach() for p in model.parameters()]

    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(2))

    def ordinary(model, opt):
        for _ in range(5):
            opt.zero_grad()
            model(x).square().sum().backward()
            opt.step()

    def released(model, opt):
        ravine.release(model, opt)
        for _ in range(5):
            model(x).square().sum().backward()

    def scaled(model, opt):
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for _ in range(5):
            opt.zero_grad()
            scaler.scale(model(x).square().sum()).backward()
            scaler.step(opt)
            scaler.update()

    expected = walk(ordinary)
    for drive in (released, scaled):
        torch.testing.assert_close(walk(drive), expected, rtol=0, atol=0)
