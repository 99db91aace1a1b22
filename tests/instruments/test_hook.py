"""Hooks belong to one model: copies of it, in memory and in files, take no watcher along and are not watched."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import ravine
from ravine.loop.hook import nothing


def net():
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))


class Writer:
    """What cannot be pickled or copied, as a SummaryWriter with its threads."""

    def add_scalar(self, *_, **__):
        pass

    add_histogram_raw = add_scalar

    def __reduce__(self):
        raise TypeError("cannot pickle a writer")


WATCHERS = {
    "monitor": lambda model, opt: ravine.Monitor(model, opt, to=Writer(), tell=None, every=1),
    "noise scale": lambda model, opt: ravine.NoiseScale(model.parameters()),
    "release": lambda model, opt: ravine.release(model, opt),
}


def train(model, opt, watcher, steps=3):
    for _ in range(steps):
        opt.zero_grad()
        loss = model(torch.ones(4, 8)).square().mean()
        loss.backward()
        opt.step()
        if isinstance(watcher, ravine.Monitor):
            watcher.step(loss)


def saved(x):
    buffer = io.BytesIO()
    torch.save(x, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", WATCHERS)
def test_copies_of_a_watched_model_are_models_alone(name):
    model = net()
    alone = len(saved(model))
    opt = ravine.Adam(model.parameters(), lr=1e-3)
    watcher = WATCHERS[name](model, opt)
    train(model, opt, watcher)
    assert len(saved(model)) < alone + 2000
    read = torch.load(io.BytesIO(saved(model)), weights_only=False)
    before = copy.deepcopy({k: x for k, x in vars(watcher).items() if k in ("samples", "count", "pairs", "number")})
    for twin in (copy.deepcopy(model), read, AveragedModel(model).module):
        assert all(hook is nothing for x in twin.modules() for hook in x._forward_hooks.values())
        with torch.no_grad():
            twin[0].weight.fill_(torch.nan)  # a watched model would look for its origin
        twin(torch.ones(4, 8)).mean().backward()
        assert all(p.grad is not None for p in twin.parameters())
    assert all(p.isfinite().all() for p in model.parameters())
    assert {k: len(x) if isinstance(x, list) else x for k, x in vars(watcher).items() if k in before} == {
        k: len(x) if isinstance(x, list) else x for k, x in before.items()
    }
    assert not getattr(watcher, "findings", [])
    train(model, opt, watcher)  # the watched one still is
    if name == "monitor":
        assert len(watcher.samples) == 6


def test_a_monitor_that_is_gone_leaves_a_model_that_runs():
    model = net()
    opt = ravine.Adam(model.parameters())
    monitor = ravine.Monitor(model, opt, tell=None)
    del monitor
    train(model, opt, None)


@pytest.mark.parametrize("given", ["all", "trained"])
def test_what_is_frozen_is_not_told_to_be_frozen(given):
    """As under a LoRA adapter, whose optimizer is often given all parameters."""
    model = net()
    model[0].requires_grad_(False)
    opt = ravine.Adam([p for p in model.parameters() if given == "all" or p.requires_grad], lr=1e-3)
    monitor = ravine.Monitor(model, opt, tell=None, every=1)
    train(model, opt, monitor, steps=10)
    assert monitor.findings == []


def test_what_is_unfrozen_and_gets_no_gradient_is_told():
    model = net()
    model[0].requires_grad_(False)
    opt = ravine.Adam(model.parameters(), lr=1e-3)
    monitor = ravine.Monitor(model, opt, tell=None, every=1)
    train(model, opt, monitor)
    model[0].requires_grad_(True)
    for _ in range(8):
        opt.zero_grad()
        loss = model[2](model[1](model[0](torch.ones(4, 8)).detach())).square().mean()
        loss.backward()
        opt.step()
        monitor.step(loss)
    assert [finding.seen for finding in monitor.findings] == ["'0': no gradient arrives"]
