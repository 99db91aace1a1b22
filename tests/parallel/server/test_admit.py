"""What a policy makes of a push: exact factors, refusals with a reason, means."""

import math
from functools import partial

import pytest
import torch

import ravine
from ravine.parallel.server.admit import (
    Buffer,
    ClipNorm,
    Finite,
    ImportanceWeight,
    MaxStaleness,
    Policy,
    Refused,
    StalenessLR,
)
from ravine.parallel.server.message import Push
from ravine.parallel.server.shard import Shard


def push(**more):
    return Push(more.pop("worker", 0), 1, 1, 0, [], **more)


def shard(*admit):
    return Shard([torch.zeros(4, dtype=torch.float64)], partial(ravine.SGD, lr=1.0), admit)


def sent(x, sequence, value, base=None, worker=0, **more):
    tensors = [torch.full((4,), value, dtype=torch.float64)]
    return x.answer(Push(worker, sequence, 1, x.version if base is None else base, tensors, **more))


@pytest.mark.parametrize("square, ok", [(1.0, True), (math.nan, False), (math.inf, False), (None, False)])
def test_finite(square, ok):
    if ok:
        assert Finite().factor(push(square=square), 0) == 1.0
    else:
        with pytest.raises(Refused, match="not finite"):
            Finite().factor(push(square=square), 0)


def test_max_staleness():
    assert [MaxStaleness(3).factor(push(), stale) for stale in (0, 1, 2)] == [1.0] * 3
    with pytest.raises(Refused, match="staleness 3 of 3"):
        MaxStaleness(3).factor(push(), 3)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_staleness_lr(power):
    assert [StalenessLR(power).factor(push(), stale) for stale in (0, 1, 4)] == [1.0, 1.0, 4.0**-power]


def test_clip_norm():
    assert [ClipNorm(2.0).factor(push(square=x), 0) for x in (0.0, 4.0, 16.0)] == [1.0, 1.0, 0.5]


def test_importance_weight_is_over_the_mean_so_far():
    policy = ImportanceWeight()
    assert [policy.factor(push(weight=w), 0) for w in (2.0, 4.0, 6.0)] == [1.0, 4.0 / 3.0, 1.5]
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(Refused, match="weight"):
            policy.factor(push(weight=wrong), 0)


def test_factors_are_multiplied_and_the_rule_sees_the_product():
    x = shard(StalenessLR(1.0), ClipNorm(1.0))
    for n in range(1, 4):
        sent(x, n, 0.0, square=0.0)
    sent(x, 4, 3.0, base=0, square=36.0)  # τ = 3, norm 6
    assert x.params[0][0].item() == pytest.approx(-3.0 / 3 / 6, rel=1e-15)


def test_a_buffer_makes_one_step_of_the_mean():
    x = shard(Buffer(3))
    assert [sent(x, 1, value, worker=n).status for n, value in enumerate((1.0, 2.0, 6.0))] == [
        "kept",
        "kept",
        "applied",
    ]
    assert (x.version, x.accepted, x.params[0][0].item()) == (1, 3, -3.0)
    assert sent(x, 2, 5.0).status == "kept"
    y = shard(Buffer(3))
    y.load_state_dict(x.state_dict())
    for worker in (1, 2):
        tensors = [torch.full((4,), 5.0, dtype=torch.float64)]
        y.answer(Push(worker, 2, 2, y.version, tensors))
    assert y.version == 2 and y.params[0][0].item() == -8.0


def test_a_fresh_buffer_refuses_what_is_late():
    x = shard(Buffer(1, fresh=True))
    assert sent(x, 1, 1.0).status == "applied"
    late = sent(x, 2, 1.0, base=0)
    assert late.status == "refused" and "fresh" in late.reason and x.accepted == 1


def test_each_shard_has_its_own_policies():
    policy = ImportanceWeight()
    a, b = shard(policy), shard(policy)
    sent(a, 1, 1.0, weight=2.0)
    sent(b, 1, 1.0, weight=8.0)
    assert a.params[0][0] == b.params[0][0] == -1.0


def test_numbers_out_of_range_and_what_a_policy_lacks():
    for make in (lambda: MaxStaleness(0), lambda: StalenessLR(-1.0), lambda: ClipNorm(math.nan), lambda: Buffer(0)):
        with pytest.raises(ValueError, match="must be"):
            make()
    with pytest.raises(NotImplementedError, match=r"Policy has no factor"):
        Policy().factor(push(), 0)
    assert repr(MaxStaleness(3)) == "MaxStaleness(steps=3)"
