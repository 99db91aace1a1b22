"""The monitor is silent on healthy runs of all kinds, and changes nothing."""

import math
from functools import partial

import pytest
import torch
from monitored import ADAM, MOMENTUM, SGD, Transformer, cnn, cross_entropy, mlp, rules, train, zero_start
from torch import nn

import ravine
from ravine.mods import ClipNorm
from ravine.strategies import SAM, Lookahead


@pytest.mark.parametrize(
    ("model", "opt", "every"),
    [
        (mlp, ADAM, 10),
        (mlp, partial(ADAM, lr=1e-2), 1),
        (mlp, SGD, 1),
        (mlp, partial(torch.optim.AdamW, lr=3e-3), 1),
        (partial(mlp, 4), ADAM, 10),
        (partial(mlp, 4), MOMENTUM, 10),
        (zero_start, ADAM, 1),
        (zero_start, SGD, 1),
        pytest.param(cnn, ADAM, 10, marks=pytest.mark.ci),
        pytest.param(cnn, MOMENTUM, 10, marks=pytest.mark.ci),
        pytest.param(Transformer, ADAM, 10, marks=pytest.mark.ci),
        pytest.param(
            Transformer,
            partial(ravine.AdamW, lr=3e-3, mods=[ClipNorm(1.0)], storage="int8"),
            10,
            marks=pytest.mark.ci,
        ),
    ],
)
@pytest.mark.ci
def test_a_healthy_run_hears_nothing(digits, model, opt, every):
    model = model()
    opt = opt(model.parameters())
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: min(1.0, t / 20))  # the first step has a rate of 0
    monitor = train(model, opt, digits, steps=200, schedule=warm, every=every)
    assert monitor.findings == [] and len(monitor.samples) == 200 // every + (every > 1)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 32])
@pytest.mark.parametrize("model", [mlp, partial(mlp, 4), cnn, Transformer])
@pytest.mark.parametrize(
    ("opt", "rates"),
    [(ADAM, {2: 3e-4, 32: 1e-3}), (MOMENTUM, {2: 1e-3, 32: 0.05}), (ravine.Lion, {2: 3e-5, 32: 3e-4})],
)
def test_a_long_healthy_run_hears_nothing(digits, model, opt, rates, batch):
    """The rates that suit a batch: of 2, Lion jumps at 1e-3, and Monitor says so."""
    model = model()
    assert train(model, opt(model.parameters(), lr=rates[batch]), digits, steps=3000, batch=batch).findings == []


def test_it_changes_nothing(digits):
    """Weights, running averages and random numbers of a run with dropout and a NaN that is traced, bit for bit."""
    ends = []
    for watched in (True, False):
        torch.manual_seed(0)
        model = cnn()
        opt = ADAM(model.parameters(), nonfinite="skip", measured=True)
        monitor = ravine.Monitor(model, opt, every=3, tell=None) if watched else None
        for t in range(20):
            x, y = digits[0][64 * t : 64 * t + 64], digits[1][64 * t : 64 * t + 64]
            loss = cross_entropy(model(x / 0 if t == 11 else x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if monitor is not None:
                monitor.step(loss)
        if monitor is not None:
            assert rules(monitor) == {"nan"} and opt.skipped > 0
            monitor.close()
            assert not model._forward_hooks and not opt._optimizer_step_pre_hooks and not opt._optimizer_step_post_hooks
            assert not any(module._forward_hooks for module in model.modules())
        ends.append([x.clone() for x in model.state_dict().values()] + [torch.rand(3)])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_it_goes_with_strategies_release_and_sparse_gradients(digits):
    for wrap in (Lookahead, SAM):
        model = mlp()
        opt = wrap(ADAM(model.parameters()))
        x, y = digits[0][:64], digits[1][:64]
        monitor = ravine.Monitor(model, opt, tell=None)
        for _ in range(10):

            def closure(model=model, opt=opt, x=x, y=y):
                opt.zero_grad()
                loss = cross_entropy(model(x), y)
                loss.backward()
                return loss

            monitor.step(opt.step(closure))
        assert len(monitor.samples) == 2 and not monitor.findings and min(monitor.samples[-1].update_norm) > 0

    model = mlp()
    opt = ADAM(model.parameters())
    released = ravine.release(model, opt)
    monitor = train(model, opt, digits, steps=60)
    assert len(monitor.samples) == 7 and not monitor.findings and min(monitor.samples[-1].ratio) > 0
    released.remove()

    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Flatten(), nn.Linear(32, 10))
    opt = ravine.SGD(model.parameters(), lr=0.1)
    monitor = train(model, opt, (torch.randint(50, (200, 4)), torch.randint(10, (200,))), steps=60)
    assert not opt.param_groups[0]["measured"] and not monitor.findings and min(monitor.samples[-1].update_norm) > 0


@pytest.mark.parametrize("optimizer", [ADAM, torch.optim.Adam, partial(torch.optim.Adam, fused=True)])
def test_a_grad_scaler_that_passes_over_steps_is_healthy(digits, optimizer):
    model = mlp()
    opt = optimizer(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5)  # the first losses overflow
    monitor = ravine.Monitor(model, opt, every=1, tell=None)
    for _ in range(60):
        loss = 1000 * cross_entropy(model(digits[0][:64]), digits[1][:64])
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        monitor.step(loss)
    assert monitor.findings == [] and 0 < len(monitor.samples) < 60
    assert all(x < 1e4 for sample in monitor.samples for x in sample.grad_norm)


def test_outputs_that_are_meant_to_be_infinite_are_none(digits):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            return nn.functional.pad(self.net(x), (0, 2), value=-math.inf)

    model = Masked()
    assert train(model, ADAM(model.parameters()), digits).findings == []
