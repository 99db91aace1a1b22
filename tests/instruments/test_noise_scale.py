"""The noise scale where it is known, and what the noisy quadratic model makes of it."""

import math

import pytest
import torch

import ravine
from ravine.instruments import critical_batch
from ravine.instruments.noise_scale import fieller
from ravine.instruments.noisy_quadratic import KINDS, expected_loss, factor

SHAPES = [(3, 4), (8,)]
SIGNAL, NOISE = 0.25, 2.0  # of each element of the gradient: its mean, and the deviation of one example's
KNOWN = NOISE**2 / SIGNAL**2


def run(steps, micro, micros, ranks=1, every=1, scale=1.0, sizes=None):
    """Gradients of known mean and noise, by backward: of the loss Σ over elements of p times the example's number."""
    torch.manual_seed(1)
    params = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    noise = ravine.NoiseScale(params, every=every)
    for _ in range(steps):
        for size in sizes or [micro] * micros:
            loss = sum(((SIGNAL + NOISE * torch.randn(size, *p.shape)).mean(0) * p).sum() for p in params)
            (scale * loss).backward()
            noise.micro(size)
        for p in params if ranks > 1 else ():  # as all_reduce leaves them, from others with as many examples
            others = (SIGNAL + NOISE * torch.randn(ranks - 1, micro * micros, *p.shape)).mean((0, 1)) * (ranks - 1)
            p.grad = (p.grad + scale * micros * others) / ranks
        noise.step(ranks=ranks)
        for p in params:
            p.grad = None
    noise.close()
    assert not any(p._backward_hooks for p in params)
    return noise


@pytest.mark.parametrize("how", [
    {"micro": 8, "micros": 4}, {"micro": 16, "micros": 2}, {"micro": 8, "micros": 1, "ranks": 4},
    pytest.param({"micro": 4, "micros": 4, "ranks": 4, "scale": 0.25}, marks=pytest.mark.slow),
    pytest.param({"micro": 8, "micros": 4, "every": 3}, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_known_noise_scale_is_measured(how):
    noise = run(600, **how)
    found = noise.estimate()
    assert found.low < KNOWN < found.high and found.high / found.low < 3
    assert noise.value == pytest.approx(KNOWN, rel=0.5)
    assert len(noise.pairs) == -(-600 // how.get("every", 1))
    signal, trace = torch.tensor(noise.pairs, dtype=torch.float64).mean(0).tolist()
    numbers, scaled = sum(math.prod(s) for s in SHAPES), how.get("scale", 1.0) ** 2
    assert trace == pytest.approx(numbers * NOISE**2 * scaled, rel=0.06)
    assert signal == pytest.approx(numbers * SIGNAL**2 * scaled, rel=0.3)


def test_the_interval_holds_what_it_promises():
    """Of a hundred intervals of 95 %, from pairs that vary together as a step's do."""
    torch.manual_seed(0)
    inside = 0
    for _ in range(200):
        g = 1 + 0.8 * torch.randn(60)
        s = 50 + 20 * torch.randn(60) - 10 * (g - 1)
        found = fieller(list(zip(g.tolist(), s.tolist(), strict=True)))
        inside += found.low < 50 < found.high
    assert 0.9 < inside / 200 < 0.99


def test_without_a_signal_the_interval_is_open():
    torch.manual_seed(0)
    found = fieller([(float(g), float(s)) for g, s in zip(torch.randn(50), 50 + torch.randn(50), strict=True)])
    assert found.high == math.inf and found.low > 50
    assert fieller([(-1.0 - 0.1 * i % 7, 50.0) for i in range(50)]).value == math.inf


def test_steps_with_unequal_parts_are_left_out():
    noise = run(20, 0, 0, sizes=[8, 7])
    assert noise.pairs == [] and noise.count == 20 and math.isnan(noise.value)


def test_mistakes():
    p = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="every is 0"):
        ravine.NoiseScale([p], every=0)
    noise = ravine.NoiseScale([p])
    p.sum().backward()
    with pytest.raises(RuntimeError, match=r"call micro\(examples\) after each backward"):
        noise.step()
    noise.micro(8)
    with pytest.raises(ValueError, match="one batch size tells nothing"):
        noise.step()
    with pytest.raises(ValueError, match="0 measured steps are too few"):
        noise.estimate()
    with pytest.raises(ValueError, match="kind is 'lion'"):
        critical_batch(10.0, "lion")
    with pytest.raises(ValueError, match=r"goal is 1\.5"):
        critical_batch(10.0, goal=1.5)


# the noisy quadratic model


@pytest.mark.parametrize("kind", KINDS)
def test_the_expected_loss_is_that_of_many_runs(kind):
    """The first 200 of the model's directions, simulated."""
    momentum, power = KINDS[kind]
    curves = expected_loss(momentum, power)
    torch.manual_seed(0)
    i, batch, rate = torch.arange(1, 10_001, dtype=torch.float64), 30.0, 2 * (1 + momentum) * 2.0**-3
    h = 1 / i
    sigma = (h.square().sum() / h.sum()).sqrt()  # B_simple = 1 where all θ are 1
    k = curves.left.shape[0] and round((3 - 0.25) / 0.25)  # the place of this rate
    theta, v = torch.ones(20, len(h), dtype=torch.float64), torch.zeros(20, len(h), dtype=torch.float64)
    start = h.sum()
    for t in range(1, 65):
        g = h * theta + sigma * (h / batch).sqrt() * torch.randn_like(theta)
        v = momentum * v + h**-power * g
        theta = theta - rate * v
        if t in (1, 2, 7, 16, 64):
            loss = (h * theta.square()).sum(1).mean() / start
            at = int((curves.t == t).nonzero())
            assert float(curves.left[k, at] + curves.added[k, at] / batch) == pytest.approx(float(loss), rel=0.06), t


def test_the_critical_batch_is_where_steps_are_twice_the_fewest():
    for kind in KINDS:
        curves = expected_loss(*KINDS[kind])
        fewest = curves.steps(math.inf, 0.01)
        assert curves.steps(factor(kind, 0.01), 0.01) == pytest.approx(2 * fewest, rel=1e-3)
        half, twice = (curves.steps(x * factor(kind, 0.01), 0.01) for x in (1e-3, 2e-3))
        assert half == pytest.approx(2 * twice, rel=0.05)  # far below, twice the batch is half the steps
        assert critical_batch(7.0, kind) == pytest.approx(7 * critical_batch(1.0, kind))
    assert critical_batch(1.0, "sgd") < critical_batch(1.0, "momentum") < critical_batch(1.0, "adam")
    assert critical_batch(1.0, "sgd", goal=0.1) < critical_batch(1.0, "sgd", goal=0.001)


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_the_scale_of_the_loss_does_not_count(scale):
    """Squares of float32 gradients are added in float64."""
    values = []
    for times in (1.0, scale):
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.zeros(50))
        noise = ravine.NoiseScale([p])
        for _ in range(5):
            p.grad = None
            for _ in range(2):
                (times * (p @ (1 + torch.randn(50)))).backward()
                noise.micro(4)
            noise.step()
        assert len(noise.pairs) == 5
        values.append(noise.value)
    assert values[1] == pytest.approx(values[0], rel=1e-5)
