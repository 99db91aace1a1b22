"""The monitor names what makes a NaN, in the step that has it: a module, the loss, backward or the batch."""

from functools import partial

import pytest
import torch
from monitored import ADAM
from torch import nn

import ravine


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Inside(nn.Module):
    """A NaN between two modules."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.b(self.a(x) + (x - 1).sqrt() * 0)


def planted(model, opt, x, t, loss=lambda out: out.square().mean(), bad=7):
    """The findings of a run whose batch number `bad` is `t`."""
    monitor = ravine.Monitor(model, opt, tell=None)
    for i in range(12):
        value = loss(model(t if i + 1 == bad else x))
        opt.zero_grad()
        value.backward()
        opt.step()
        monitor.step(value)
    return monitor.findings


@pytest.mark.parametrize("optimizer", [partial(ADAM, lr=1e-3), partial(torch.optim.Adam, lr=1e-3)])
def test_the_module_that_makes_a_nan_is_named_in_the_step_that_has_it(optimizer):
    ones = torch.ones(3, 4) + torch.rand(3, 4)
    model = nn.Sequential(nn.Identity(), Log(), nn.Linear(4, 4), nn.Linear(4, 1))
    (finding,) = planted(model, optimizer(model.parameters()), ones, -ones)
    assert (finding.rule, finding.step, finding.layers) == ("nan", 7, ("1",))
    assert "its inputs and its own weights are finite" in finding.seen

    model = Inside()
    (finding,) = planted(model, optimizer(model.parameters()), ones, -ones)
    assert (finding.step, finding.layers) == (7, ("b",)) and "no module before it has made" in finding.seen

    model = nn.Linear(4, 1)
    (finding,) = planted(model, optimizer(model.parameters()), ones, ones / 0)
    assert (finding.step, finding.layers) == (7, ()) and "the batch that the model was given" in finding.seen


def test_a_loss_function_that_makes_a_nan_is_named():
    model, x = nn.Linear(4, 1), torch.rand(3, 4)
    calls = iter(range(99))
    (finding,) = planted(
        model, ADAM(model.parameters()), x, x, loss=lambda out: out.sum() * (torch.nan if next(calls) == 4 else 1.0)
    )
    assert (finding.step, finding.layers) == (5, ()) and "the loss function makes it" in finding.seen


@pytest.mark.parametrize("measured", [True, False])
def test_a_nan_that_backward_makes_is_named(measured):
    """The root of 0 is finite and its slope is not."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    opt = (ADAM if measured else torch.optim.Adam)(model.parameters())
    x = torch.rand(3, 4)
    calls = iter(range(99))
    bad = 7 if measured else 10  # of torch's optimizers the gradients are read in samples
    found = planted(model, opt, x, x, loss=lambda out: (out * 0 if next(calls) == bad - 1 else out).abs().sqrt().mean())
    (finding,) = found
    assert (finding.rule, finding.step, finding.layers) == ("nan", bad, ("1",))
    assert "the gradient of '1.bias' and of 3 parameters before it is not" in finding.seen


def test_a_nan_before_an_exception_is_told_at_the_end():
    model = nn.Sequential(nn.Linear(4, 4), Log())
    opt = ADAM(model.parameters(), nonfinite="raise")
    model[0].weight.data.fill_(-1)
    model[0].bias.data.fill_(0)
    with pytest.raises(FloatingPointError), ravine.Monitor(model, opt, tell=None) as monitor:
        model(torch.ones(2, 4)).square().sum().backward()
        opt.step()
    assert [x.layers for x in monitor.findings] == [("1",)]
