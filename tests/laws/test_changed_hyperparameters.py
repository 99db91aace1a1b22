"""Hyperparameters that change between steps: without another program where they are numbers, with one where not."""

import pytest
import torch
from cases import equal, every_program, give, near, parameters, walk
from ordinary import SHAPES, count_of_programs, of

import ravine
from ravine.rule import programs


@every_program
def test_a_new_rate_does_not_recompile(cls, compilations):
    opt = cls(parameters(SHAPES))
    walk(opt, 1)
    arranged = opt._arranged
    group = opt.param_groups[0]
    for t, lr in enumerate([0.1, 0.03, torch.tensor(0.02), torch.tensor([0.01]), 1, 0]):
        group["lr"] = lr
        for name, x in group.items():
            if name != "lr" and isinstance(x, float) and x:
                group[name] = 0.99 * x
            if isinstance(x, tuple):
                group[name] = tuple(0.999 * v if isinstance(v, float) else v for v in x)
        walk(opt, 1, first=t)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, 1)
    for t in range(3):
        walk(opt, 1, first=t)
        scheduler.step()
    assert compilations == [cls.__name__] * count_of_programs(opt, [None])  # without a tensor a tall matrix is meant
    assert opt._arranged is arranged


@every_program
def test_a_whole_number_or_a_list_in_a_group_is_as_good_as_floats(cls):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = cls(p), cls(q)
    for name, x in a.defaults.items():
        if isinstance(x, float) and x in (0.0, 1.0):
            a.param_groups[0][name] = int(x)
        if isinstance(x, tuple):
            a.param_groups[0][name] = list(x)
    for opt, rates in ((a, (1, 0.5, 2)), (b, (1.0, 0.5, 2.0))):
        programs._programs.clear()
        for lr in rates:
            opt.param_groups[0]["lr"] = lr
            walk(opt, 1)
    for x, y in zip(p, q, strict=True):
        equal(x.detach(), y.detach())


@pytest.mark.parametrize("cls", [ravine.SGD, ravine.RMSprop], ids=["sgd", "rmsprop"])
def test_momentum_switched_on_compiles_once_and_goes_on_as_torch(cls, compilations):
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = cls(p, lr=0.1), cls.twin(q, lr=0.1)
    for t, momentum in enumerate([0.0, 0.0, 0.9, 0.9, 0.8, 0.0, 0.9]):
        for opt in (a, b):
            opt.param_groups[0]["momentum"] = momentum
            if momentum and isinstance(opt, torch.optim.RMSprop) and "momentum_buffer" not in opt.state[q[0]]:
                for x in q:  # torch makes it only at the first step
                    opt.state[x]["momentum_buffer"] = torch.zeros_like(x)
            give(of(opt), t)
            opt.step()
    for x, y in zip(p, q, strict=True):
        near(x, y, 2e-6)
    assert compilations == [cls.__name__] * 2


def test_flags_changed_in_a_group_are_followed():
    p, q = parameters(SHAPES), parameters(SHAPES)
    a, b = ravine.Adam(p), torch.optim.Adam(q)
    for t, maximize in enumerate([False, True, True, False]):
        for opt in (a, b):
            opt.param_groups[0]["maximize"] = maximize
            give(of(opt), t)
            opt.step()
    for x, y in zip(p, q, strict=True):
        near(x, y, 2e-6)


def test_a_rule_with_a_tuple_of_any_length_has_a_program_for_each_length():
    class Many(ravine.Optimizer):
        """The mean of several momenta."""

        lr: float = 1  # an int for a float: must not be fixed
        betas: tuple[float, ...] = (0.5, 0.9)

        def init(self, s, p):
            s.m = [0.0 * p for _ in self.betas]

        def update(self, s, p, g, t):
            s.m = [b * m + g for b, m in zip(self.betas, s.m, strict=True)]
            return p - self.lr * sum(s.m) / len(s.m)

    p = parameters([(3,)] * 3)
    start = [x.detach().clone() for x in p]
    opt = Many(
        [{"params": [x], "betas": betas} for x, betas in zip(p, [(0.5,), (0.5, 0.9), (0.1, 0.2, 0.3)], strict=True)]
    )
    for lr in (1.0, 0.5):
        for x in p:
            x.grad = torch.ones(3)
        for group in opt.param_groups:
            group["lr"] = lr
        opt.step()
    for x, old, betas in zip(p, start, [(0.5,), (0.5, 0.9), (0.1, 0.2, 0.3)], strict=True):
        near(x, old - 1 - 0.5 * (1 + sum(betas) / len(betas)), 1e-6)
