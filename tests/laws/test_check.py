"""`ravine.testing.check`, as users have it: it holds over the methods here, and finds what is wrong with others."""

import pytest
import torch
from cases import ALL, COVER

import ravine
from ravine.optim import registry
from ravine.testing import Report, check
from ravine.testing.laws import LAWS
from ravine.words import norm, number, scalar, sign, total, where, zeros

# a full matrix takes no tensor of thousands, unless it is cut
CHECKED = registry() | {"fulladagrad": ALL["fulladagrad"]}


@pytest.mark.ci
@pytest.mark.parametrize(
    "cls", [pytest.param(x, id=k, marks=[pytest.mark.slow] * (k not in COVER)) for k, x in CHECKED.items()]
)
def test_every_method_keeps_the_laws(cls):
    assert check(cls)


class ZeroByZero(ravine.Optimizer):
    def update(self, s, p, g, t):
        return p - self.lr * g / norm(g)


class Upside(ravine.Optimizer):
    """It turns a gradient that is turned already."""

    def update(self, s, p, g, t):
        return p + self.lr * g if self.maximize else p - self.lr * g


class Hiding(ravine.Optimizer):
    """where() hides a NaN."""

    def update(self, s, p, g, t):
        return p - self.lr * where(g > 0, 1.0, -1.0)


class Tiny(ravine.Optimizer):
    """It divides by the weight."""

    def update(self, s, p, g, t):
        return p - self.lr * g / p


class Forgetful(ravine.Optimizer):
    """It counts where no checkpoint sees it."""

    count = 0

    def step(self, closure=None, **given):
        self.count += 1
        for group in self.param_groups:
            group["lr"] = 1e-3 * self.count
        return super().step(closure, **given)


class Writing(Forgetful):
    """It writes into gradients, and into what has none."""

    def update(self, s, p, g, t):
        return p - self.lr * g

    def step(self, closure=None, **given):
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                p.grad.mul_(0.5)
            else:
                p.data.add_(1.0)
        return super().step(closure, **given)


Forgetful.update = Writing.update


class Fine(ravine.Optimizer):
    """Momentum by the loss and a curvature.

    m ← g sign(h) / f;  p ← p − lr m
    """

    inputs = {"h": "r c", "a": "c c"}

    def init(self, s, p):
        s.m, s.n, s.k = zeros(p), scalar(0.0), number(0.0)

    def update(self, s, p, g, t, loss, h, a):
        f = -loss if self.maximize else loss  # g is turned round, and what is given is not
        s.m, s.n, s.k = g * sign(h) / f, total(p), s.k + 1
        return p - self.lr * (s.m @ a)


BROKEN = {
    ZeroByZero: {"Gradients of zeros leave all finite"},
    Upside: {"maximize=True with −g is the same as without it with g, bit for bit"},
    Hiding: {"A NaN in a gradient shows in a weight or a state"},
    Tiny: {"Weights of zeros stay finite"},
    Forgetful: {"A saved and loaded state goes on bit for bit", "A pickled optimizer goes on bit for bit"},
    Writing: {"Gradients are never written to", "A parameter that has no gradient stays where it is"},
}


@pytest.mark.ci
@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_what_is_broken_is_found_and_named(cls):
    report = check(cls)
    assert not report and {line.law for line in report.broken} >= BROKEN[cls], report


@pytest.mark.ci
def test_a_rule_with_inputs_keeps_the_laws():
    report = check(Fine)
    assert report and isinstance(report, Report), report
    assert str(report).splitlines()[0].startswith("Fine: ") and len(report.lines) == len(LAWS)
    assert "add the paper, with its address" in str(report)
    assert not check(Fine, given=lambda opt, t: {"loss": 0.0})


def test_a_mistake_is_one_line_that_says_where():
    class Wrong(ravine.Optimizer):
        def update(self, s, p, g, t):
            return s.m

    report = check(Wrong)
    (line,) = report.lines
    assert str(line).startswith(
        "BROKEN  Its equations can be written down, and its plan: AttributeError at test_check.py:"
    )
    with pytest.raises(TypeError, match=r"give the class, as check\(MyRule\)"):
        check(torch.optim.SGD)
