"""The monitor finds what was planted, and says where: dead units, rates, spikes, layers that stand still."""

from functools import partial

import pytest
import torch
from monitored import ADAM, SGD, cnn, cross_entropy, mlp, rules, train
from torch import nn

import ravine


def test_a_dead_layer_is_found(digits):
    model = mlp(3)
    with torch.no_grad():
        model[2].bias.fill_(-100)
    monitor = train(model, ADAM(model.parameters()), digits)
    found = [finding for finding in monitor.findings if finding.rule == "dead units"]
    assert [finding.layers for finding in found] == [("3",)] and "all 64 units of '3'" in found[0].seen
    (frozen,) = [finding for finding in monitor.findings if finding.rule == "frozen"]
    assert frozen.layers == ("0", "2") and "the gradient is exactly zero" in frozen.seen
    assert monitor.samples[-1].dead["3"] == (64, 64) and monitor.samples[-1].dead["5"][0] < 32


def test_dead_channels_are_found(digits):
    model = cnn()
    with torch.no_grad():
        model[2].bias[:10] = -100
    monitor = train(model, ADAM(model.parameters()), digits, steps=60)
    (finding,) = monitor.findings
    assert finding.layers == ("3",) and "10 of 16 units" in finding.seen


@pytest.mark.parametrize(
    ("depth", "opt"),
    [
        (1, partial(ADAM, lr=1.0)),
        (1, partial(torch.optim.Adam, lr=1.0)),
        (1, partial(ravine.SGD, lr=20.0)),
        (4, partial(ravine.SGD, lr=20.0)),
        (1, partial(ravine.SignSGD, lr=0.3)),
    ],
)
def test_a_rate_that_is_too_large_is_found(digits, depth, opt):
    model = mlp(depth)
    monitor = train(model, opt(model.parameters()), digits, steps=60)
    finding = next(finding for finding in monitor.findings if finding.rule == "lr too large")
    assert finding.step <= 20 and "a third of the lr" in finding.advice


def test_steps_that_stay_large_are_found(digits):
    """Normed layers bear it: the loss falls, and the weights are made anew every few steps."""
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    opt = ravine.SGD([{"params": model[0].weight, "lr": 30.0, "weight_decay": 0.01}, *(
        {"params": list(part.parameters())} for part in (model[1], model[3]))], lr=0.1)  # fmt: skip
    monitor = train(model, opt, digits, steps=200)
    assert "lr too large" in rules(monitor)
    (finding,) = [x for x in monitor.findings if x.rule == "lr too large"]
    assert finding.layers == ("0",) and "each step changes '0' by" in finding.seen


def test_a_spike_is_found():
    model = nn.Linear(8, 1)
    opt = SGD(model.parameters(), lr=0.05)
    x = torch.randn(2000, 8)
    y = x.sum(1, keepdim=True) + 0.1 * torch.randn(2000, 1)
    said = []
    monitor = ravine.Monitor(model, opt, tell=said.append)
    for t in range(100):
        a, b = x[20 * t : 20 * t + 20], y[20 * t : 20 * t + 20]
        loss = nn.functional.mse_loss(model(a), b + 50 * (t == 70))
        opt.zero_grad()
        loss.backward()
        if t != 70:
            opt.step()
        monitor.step(loss)
    (finding,) = monitor.findings
    assert (finding.rule, finding.step) == ("loss spike", 71) and said == [str(finding)]


def test_frozen_layers_are_found(digits):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.cut, self.last = mlp(), nn.Linear(10, 10), nn.Linear(10, 10)
            self.still, self.deliberate = nn.Linear(10, 10), nn.Linear(10, 10).requires_grad_(False)
            self.other = nn.Linear(10, 10)

        def forward(self, x):
            x = self.first(x)
            x = x + self.deliberate(x) + self.other(x) + self.still(x)
            return self.last(x) + self.cut(x).detach()

    model = Net()
    live = [*model.first.parameters(), *model.cut.parameters(), *model.last.parameters()]
    opt = ravine.Adam([{"params": live}, {"params": list(model.still.parameters()), "lr": 0.0}])
    monitor = train(model, opt, digits, steps=50)
    found = {finding.layers: finding.seen.partition(": ")[2] for finding in monitor.findings}
    assert found == {
        ("cut",): "no gradient arrives",
        ("other",): "requires_grad is set, but the optimizer does not have it",
        ("still",): "the lr is 0",
    }
    assert all(finding.rule == "frozen" and finding.step == 40 for finding in monitor.findings)


def test_updates_that_rounding_takes_are_found(digits):
    model = mlp().bfloat16()
    x, y = digits[0].bfloat16(), digits[1]
    loss = lambda out, y: cross_entropy(out.float(), y)  # noqa: E731
    lost = train(model, ravine.SGD(model.parameters(), lr=1e-14), (x, y), loss=loss)
    assert [finding.rule for finding in lost.findings] == ["frozen"] and "updates are smaller" in lost.findings[0].seen
    model = mlp().bfloat16()
    assert train(model, ADAM(model.parameters(), master_bits=16), (x, y), loss=loss).findings == []
