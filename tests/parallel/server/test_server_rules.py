"""Each rule of a server is its paper's loop: written again in numpy, in float64, with gradients that arrive late."""

from functools import partial

import numpy as np
import pytest
import torch

import ravine
from ravine.parallel.rules import (
    DCASGD,
    AdaptiveRevision,
    AsyncAdaGrad,
    DelayedNesterov,
    DualAveragingAdaGrad,
    ElasticCenter,
)
from ravine.parallel.server.message import Pull, Push
from ravine.parallel.server.shard import Shard

SHAPES = ((5, 3), (4,))


def begun(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def pushes(steps=50, workers=3, seed=1, delayed=True):
    """(worker, gradients, version that it was computed at); a worker reads again at half of its pushes."""
    rng, base = np.random.default_rng(seed), dict.fromkeys(range(workers), 0)
    for version in range(steps):
        worker = int(rng.integers(workers))
        if not delayed or rng.random() < 0.5:
            base[worker] = version
        yield worker, [rng.standard_normal(shape) for shape in SHAPES], base[worker]


def played(rule, stream, **options):
    """The parameters after each push, as a shard has them."""
    shard, base, count = Shard(begun(), rule, **options), {}, {}
    found = []
    for worker, gradients, wanted in stream:
        if worker not in base:
            assert wanted == 0 or wanted == shard.version
        if wanted == shard.version or worker not in base:
            base[worker] = shard.answer(Pull(worker)).version
        count[worker] = count.get(worker, 0) + 1
        tensors = [torch.from_numpy(g.copy()) for g in gradients]
        reply = shard.answer(Push(worker, count[worker], 1, base[worker], tensors))
        assert reply.status == "applied"
        found.append([p.detach().numpy().copy() for p in shard.params])
    return found


def fresh(stream):
    """The same stream, in which each worker's first read is at version 0, as `played` makes it."""
    seen = set()
    for version, (worker, gradients, base) in enumerate(stream):
        yield worker, gradients, base if worker in seen else version
        seen.add(worker)


def stream(**how):
    return list(fresh(pushes(**how)))


def same(found, wanted, tolerance=1e-11):
    assert len(found) == len(wanted) > 0
    for mine, theirs in zip(found, wanted, strict=True):
        for x, y in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def reference(update, given, states):
    """The loop around a rule on arrays: update(state, p, g, t, all gradients so far, all parameters so far, base)."""
    p = [x.numpy().copy() for x in begun()]
    kept = [states(x) for x in p]
    gradients, read, found = [], [[x.copy() for x in p]], []
    for t, (_, g, base) in enumerate(given):
        for k in range(len(p)):
            p[k] = update(kept[k], p[k], g[k], t, [x[k] for x in gradients[base:]], read[base][k])
        gradients.append(g)
        read.append([x.copy() for x in p])
        found.append([x.copy() for x in p])
    return found


def async_adagrad(s, p, g, t, since, read, lr=0.3):
    s["z"] = s["z"] + g * g
    return p - lr * g / np.sqrt(s["z"])


def adaptive_revision(s, p, g, t, since, read, lr=0.3):
    back = sum(since, np.zeros_like(g))
    old = lr / np.sqrt(s["most"])
    s["z"] = s["z"] + g * g + 2 * g * back
    s["most"] = np.maximum(s["most"], s["z"])
    new = lr / np.sqrt(s["most"])
    return p - new * g + (old - new) * back


def dual_averaging(s, p, g, t, since, read, lr=0.3):
    s["sum"], s["z"] = s["sum"] + g, s["z"] + g * g
    return s["x0"] - lr * s["sum"] / np.sqrt(s["z"])


def dc_asgd(s, p, g, t, since, read, lr=0.1, lam=0.04):
    return p - lr * (g + lam * g * g * (p - read))


def dc_asgd_adaptive(s, p, g, t, since, read, lr=0.1, lam=2.0, m=0.95, eps=1e-7):
    s["v"] = m * s["v"] + (1 - m) * g * g
    return p - lr * (g + lam / np.sqrt(s["v"] + eps) * g * g * (p - read))


def delayed_nesterov(s, p, g, t, since, read, lr=0.7, beta=0.9, n=4, c=0.1):
    s["delta"] = s["delta"] + g
    if (t + 1) % n == 0:
        s["m"] = beta * s["m"] + s["delta"] / n
        s["delta"] = np.zeros_like(g)
        return p - lr * ((1 - c * n + c) * beta * s["m"] + g / n)
    return p - lr * (c * beta * s["m"] + g / n)


def elastic(s, p, g, t, since, read, alpha=0.3):
    return p + alpha * (g - p)


RULES = {
    "AsyncAdaGrad": (partial(AsyncAdaGrad, lr=0.3), async_adagrad),
    "AdaptiveRevision": (partial(AdaptiveRevision, lr=0.3), adaptive_revision),
    "DualAveragingAdaGrad": (partial(DualAveragingAdaGrad, lr=0.3), dual_averaging),
    "DCASGD constant": (partial(DCASGD, lr=0.1, adaptive=False, compensation=0.04), dc_asgd),
    "DCASGD adaptive": (partial(DCASGD, lr=0.1), dc_asgd_adaptive),
    "DelayedNesterov": (partial(DelayedNesterov, every=4, c=0.1), delayed_nesterov),
    "ElasticCenter": (partial(ElasticCenter, alpha=0.3), elastic),
}


def states(x):
    zeros, ones = np.zeros_like(x), np.ones_like(x)
    return {"z": ones, "most": ones, "sum": zeros, "x0": x.copy(), "v": zeros, "delta": zeros, "m": zeros}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_its_papers_loop(name):
    rule, update = RULES[name]
    given = stream()
    assert max(t - base for t, (_, _, base) in enumerate(given)) > 5  # gradients that are late
    same(played(rule, given), reference(update, given, states))


def test_adaptive_revision_without_delay_is_async_adagrad_bit_for_bit():
    given = stream(workers=1, delayed=False)
    a, b = played(partial(AdaptiveRevision, lr=0.3), given), played(partial(AsyncAdaGrad, lr=0.3), given)
    assert all(np.array_equal(x, y) for p, q in zip(a, b, strict=True) for x, y in zip(p, q, strict=True))
    late = stream()
    a, b = played(partial(AdaptiveRevision, lr=0.3), late), played(partial(AsyncAdaGrad, lr=0.3), late)
    assert not np.array_equal(a[-1][0], b[-1][0])


def torchs(make, given):
    """The same gradients, in order, in an optimizer of torch."""
    params = [torch.nn.Parameter(x) for x in begun()]
    opt, found = make(params), []
    for _, gradients, _ in given:
        for p, g in zip(params, gradients, strict=True):
            p.grad = torch.from_numpy(g.copy())
        opt.step()
        found.append([p.detach().numpy().copy() for p in params])
    return found


def test_delayed_nesterov_of_every_step_is_nesterovs():
    given = stream()
    nesterov = partial(torch.optim.SGD, lr=0.7, momentum=0.9, nesterov=True)
    same(played(partial(DelayedNesterov, every=1), given), torchs(nesterov, given))


@pytest.mark.parametrize("adaptive", [False, True])
def test_dc_asgd_without_compensation_is_sgd(adaptive):
    given = stream()
    found = played(partial(DCASGD, lr=0.1, compensation=0.0, adaptive=adaptive), given)
    same(found, torchs(partial(torch.optim.SGD, lr=0.1), given))


def test_adagrad_on_a_server_is_torchs():
    given = stream()
    same(
        played(partial(ravine.optim.registry()["adagrad"], lr=0.1), given),
        torchs(partial(torch.optim.Adagrad, lr=0.1), given),
    )


def test_an_optimizer_of_torch_is_a_rule_bit_for_bit():
    given, rule = stream(), partial(torch.optim.Adam, lr=0.1)
    found, wanted = played(rule, given), torchs(rule, given)
    assert all(np.array_equal(x, y) for p, q in zip(found, wanted, strict=True) for x, y in zip(p, q, strict=True))


def test_dual_averaging_does_not_depend_on_the_order():
    given = stream()
    other = [given[i] for i in np.random.default_rng(5).permutation(len(given))]
    zero = [[(w, g, 0) for w, g, _ in x] for x in (given, other)]
    found = []
    for order in zero:
        shard = Shard(begun(), partial(DualAveragingAdaGrad, lr=0.3))
        for n, (_, g, _) in enumerate(order):
            shard.answer(Push(0, n + 1, 1, 0, [torch.from_numpy(x) for x in g]))
        found.append([p.detach().numpy() for p in shard.params])
    same([found[0]], [found[1]], 1e-12)


@pytest.mark.parametrize("rule", [AdaptiveRevision, DCASGD])
def test_what_was_not_read_is_refused(rule):
    shard = Shard(begun(), rule)
    tensors = [torch.ones_like(p) for p in shard.params]
    reply = shard.answer(Push(0, 1, 1, 0, tensors))
    assert (reply.status, reply.reason) == ("refused", "version 0 was not read by worker 0")
    shard.answer(Pull(0))
    assert shard.answer(Push(0, 2, 1, 0, tensors)).status == "applied"


@pytest.mark.parametrize("rule", [AdaptiveRevision, DCASGD])
def test_the_owner_may_read_for_ever(rule):
    shard = Shard(begun(), rule)
    for sequence in range(1, 6):
        base = shard.answer(Pull(0)).version
        shard.answer(Push(0, sequence, 1, base, [torch.ones_like(p) for p in shard.params]))
        shard.answer(Pull(-1))
    assert set(shard.bases) == {0} and len(shard.bases[0]) <= 2


@pytest.mark.parametrize("name", RULES)
def test_a_rule_goes_on_from_a_snapshot_bit_for_bit(name):
    rule, _ = RULES[name]
    given = stream(workers=1, delayed=False)
    whole = played(rule, given)
    first = Shard(begun(), rule)

    def push(shard, n):
        base = shard.answer(Pull(0)).version
        tensors = [torch.from_numpy(x.copy()) for x in given[n][1]]
        assert shard.answer(Push(0, n + 1, shard.incarnation, base, tensors)).status == "applied"

    for n in range(20):
        push(first, n)
    second = Shard([torch.zeros_like(x) for x in begun()], rule)
    second.load_state_dict(first.state_dict())
    for n in range(20, 50):
        push(second, n)
    assert all(np.array_equal(p.detach().numpy(), x) for p, x in zip(second.params, whole[-1], strict=True))
