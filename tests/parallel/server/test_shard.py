"""A shard: each push counts once, versions grow, what died with it is known, and nobody gets what is not his."""

from functools import partial

import pytest
import torch

import ravine
from ravine.parallel.rules import AdaptiveRevision, ElasticCenter
from ravine.parallel.server.admit import Buffer, ClipNorm, Finite, Policy
from ravine.parallel.server.message import Leave, Pull, Push
from ravine.parallel.server.shard import Shard

SGD = partial(ravine.SGD, lr=0.5)


def shard(rule=SGD, **more):
    return Shard([torch.zeros(3, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)], rule, **more)


def push(sequence, value=1.0, worker=0, incarnation=1, base=0, **more):
    tensors = [torch.full((3,), value, dtype=torch.float64), torch.full((2, 2), value, dtype=torch.float64)]
    return Push(worker, sequence, incarnation, base, tensors, **more)


def first(x):
    return x.params[0][0].item()


def test_a_push_counts_once_however_often_and_in_what_order_it_comes():
    x = shard()
    for sequence in (1, 1, 3, 2, 3, 1, 2):
        x.answer(push(sequence))
    assert (x.version, x.accepted, first(x)) == (3, 3, -1.5)
    assert (x.once[0].floor, x.once[0].above) == (3, set())


def test_the_answer_to_a_push_that_comes_again_is_the_first_one():
    x = shard()
    found = x.answer(push(1, want="before"))
    x.answer(push(1, worker=1))
    again = x.answer(push(1, want="before"))
    assert again == found and again.tensors[0][0] == 0.0
    after = x.answer(push(2, want="after"))
    x.answer(push(2, worker=1))
    assert after.tensors[0][0] == -1.5
    assert x.answer(push(2, want="after")).tensors[0][0] == -2.0  # the parameters as they are now
    assert x.answer(push(1)).status == "duplicate"


def test_parameters_that_were_sent_stay_as_they_were():
    x = shard()
    read = x.answer(Pull(0)).tensors
    x.answer(push(1))
    assert read[0][0] == 0.0
    begun = torch.zeros(3, dtype=torch.float64)
    Shard([begun], SGD).answer(Push(0, 1, 1, 0, [torch.ones(3, dtype=torch.float64)]))
    assert begun[0] == 0.0


def test_what_died_with_a_shard_is_known_and_fenced():
    x, y = shard(), shard()
    for n in range(1, 11):
        x.answer(push(n))
        if n == 6:
            saved = x.state_dict()
    y.load_state_dict(saved)
    assert (y.incarnation, y.version, y.accepted, first(y)) == (2, 6, 6, -3.0)
    assert y.answer(push(11)).status == "fenced" and y.accepted == 6
    assert y.answer(push(6)).status == "applied" and y.accepted == 6  # the answer that it got before
    reply = y.answer(Pull(0, (1, 10), 5, settled=11))
    assert (reply.incarnation, sum(y.lost.values())) == (2, 4)
    for n in range(12, 40):
        assert y.answer(push(n, incarnation=2, base=reply.version)).status == "applied"
    assert (y.once[0].floor, y.once[0].above) == (39, set())  # what was fenced is not waited for
    z = shard()
    z.load_state_dict(y.state_dict())
    assert (z.incarnation, sum(z.lost.values())) == (3, 4)
    z.answer(Pull(1, (1, 9)))  # one who has slept through two deaths
    assert sum(z.lost.values()) == 4


def test_an_exchange_that_was_saved_is_answered_by_the_successor():
    """Else the center has moved and the worker has not: their sum would change."""
    rule = partial(ElasticCenter, alpha=0.5)
    x, y = shard(rule), shard(rule)
    told = x.answer(push(1, 4.0, want="before"))
    y.load_state_dict(x.state_dict())
    again = y.answer(push(1, 4.0, want="before"))
    assert again.status == "applied" and torch.equal(again.tensors[0], told.tensors[0]) and first(y) == 2.0


def test_a_load_into_a_shard_that_runs_is_another_incarnation():
    x, y = shard(), shard()
    saved = x.state_dict()
    y.load_state_dict(x.state_dict())
    y.load_state_dict(y.state_dict())
    assert y.incarnation == 3
    y.answer(push(1, incarnation=3))
    y.load_state_dict(saved)
    assert (y.incarnation, first(y)) == (4, 0.0)
    assert y.answer(push(2, incarnation=3)).status == "fenced"


def test_another_shards_state_is_refused():
    with pytest.raises(ValueError, match=r"shapes \[\(3,\)\]"):
        shard().load_state_dict(Shard([torch.zeros(3)], SGD).state_dict())
    with pytest.raises(ValueError, match="Buffer"):
        shard().load_state_dict(shard(admit=[Buffer(2)]).state_dict())


def test_other_tensors_are_refused_and_counted():
    x = shard()
    reply = x.answer(Push(0, 1, 1, 0, [torch.ones(2)]))
    assert reply.status == "refused" and "not [(3,), (2, 2)]" in reply.reason
    assert x.accepted == 0 and list(x.refused) == [(0, reply.reason)] and first(x) == 0.0


class Raises(Policy):
    def factor(self, push, stale):
        raise ZeroDivisionError("mine")


class Falls(torch.optim.SGD):
    def step(self, closure=None):
        raise ArithmeticError("theirs")


def test_a_rule_or_policy_that_raises_has_accepted_nothing():
    for x in (shard(admit=[Raises()]), shard(partial(Falls, lr=1.0))):
        with pytest.raises(ArithmeticError, match=r"mine|theirs"):
            x.answer(push(1))
        assert (x.accepted, x.version, first(x)) == (0, 0, 0.0)


def test_who_left_is_forgotten_but_counts():
    x = Shard([torch.zeros(3)], AdaptiveRevision)
    x.answer(Pull(0))
    x.answer(Push(0, 1, 1, 0, [torch.ones(3)], want="after", speed=3.0))
    assert x.bases[0] and x.last and x.speeds
    assert x.answer(Leave(0)).status == "left"
    assert not x.bases and not x.last and not x.speeds
    assert x.answer(Push(0, 1, 1, 0, [torch.ones(3)])).status == "duplicate" and x.version == 1


class Wants(ravine.Optimizer):
    inputs = {"weather": "number"}

    def update(self, s, p, g, t, weather):
        return p - weather * g


def test_what_does_not_fit_is_said_at_once():
    with pytest.raises(ValueError, match="Wants takes weather"):
        shard(Wants)
    with pytest.raises(ValueError, match="Buffer must be the last"):
        shard(admit=[Buffer(2), Finite()])
    with pytest.raises(ValueError, match="AdaptiveRevision takes what one worker read"):
        shard(AdaptiveRevision, admit=[Buffer(2)])
    with pytest.raises(ValueError, match=r"ClipNorm\(most=1.0\) changes what a worker sends, and ElasticCenter"):
        shard(ElasticCenter, admit=[ClipNorm(1.0)])
    shard(ElasticCenter, admit=[Finite()])
