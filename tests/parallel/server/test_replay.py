"""A run of several processes, made again in this one from its trace: the same parameters, bit for bit."""

import json
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch
from inprocess import Here, Network, backward, model
from work import KINDS, train

from ravine.parallel.engines.lines import ServerFailed
from ravine.parallel.server.parameter_server import Context, ParameterServer
from ravine.parallel.server.replay import Diverged, replay
from ravine.parallel.server.trace import Trace
from ravine.parallel.workers import Downpour


def same(found, again):
    assert found.keys() == again.keys() and all(torch.equal(x, again[k]) for k, x in found.items())


def recorded(kind, network=None, workers=2, steps=30, dies=None):
    """A trace and the parameters of a run with threads, one after another by turns that a seed draws."""
    server = Here(model(), KINDS[kind][2], shards=2, network=network, record=True)
    gate = threading.Lock()  # one worker computes at a time: they share torch's random numbers

    def work(n):
        with gate:
            train(Context(server.handle(), n, n, workers), kind, steps)

    for n in range(workers):
        work(n)
    return server, Trace(tuple(tuple(x.events) for x in server.shards))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_messages_that_came_twice_is_made_again(kind):
    server, trace = recorded(kind, Network(1, lost=0.1, unanswered=0.2, twice=0.1))
    rule = KINDS[kind][2]
    same(server.parameters(), replay(trace, model(), rule, shards=2, work=train, workers=2, args=(kind, 30)))


@pytest.mark.ci
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_processes_is_made_again(kind, tmp_path):
    rule = KINDS[kind][2]
    with ParameterServer(model(), rule, shards=2, record=True) as server:
        outcomes = server.run(train, workers=2, args=(kind,))
        found = server.parameters()
        server.trace().save(tmp_path / "trace.json")
    assert [x.error for x in outcomes] == [None, None]
    trace = Trace.load(tmp_path / "trace.json")
    assert trace.workers == [0, 1]
    same(found, replay(trace, model(), rule, shards=2, work=train, workers=2, args=(kind,)))
    assert not all(torch.equal(x, found[k]) for k, x in model().named_parameters())


@pytest.mark.ci
def test_a_worker_that_died_and_one_that_came_later_are_made_again():
    rule = KINDS["downpour"][2]
    with ParameterServer(model(), rule, shards=2, record=True) as server:
        first = server.run(train, workers=2, args=("downpour", 40, 0.0, (1, 17)))
        assert first[0].error is None and "exit code -9" in first[1].error
        server.run(train, workers=2, args=("downpour", 40, 0.0, (1, 17)))
        found, trace = server.parameters(), server.trace()
    assert trace.workers == [0, 1, 2, 3]
    same(found, replay(trace, model(), rule, shards=2, work=train, workers=2, args=("downpour", 40)))


class Fussy(torch.optim.SGD):
    """Raises at its seventh step, and goes on."""

    def step(self, closure=None):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 7:
            raise ArithmeticError("the seventh")
        return super().step(closure)


def patient(worker):
    """Goes on where the server failed."""
    net, failed = model(), 0
    opt = Downpour(worker.server, torch.optim.SGD(net.parameters(), lr=0.1))
    for n in range(12):
        backward(net, torch.Generator().manual_seed(n))
        try:
            opt.step()
        except ServerFailed:
            failed += 1
    assert failed == 1  # on both shards at once


def test_an_error_of_the_rule_is_one_in_the_replay_too():
    rule = partial(Fussy, lr=0.1)
    server = Here(model(), rule, shards=2, record=True)
    patient(Context(server.handle(), 0, 0, 1))
    trace = Trace(tuple(tuple(x.events) for x in server.shards))
    same(server.parameters(), replay(trace, model(), rule, shards=2, work=patient))


def test_the_caller_keeps_its_threads_and_random_numbers():
    _, trace = recorded("downpour")
    net = model()
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    torch.set_num_threads(2)
    replay(trace, net, KINDS["downpour"][2], shards=2, work=train, workers=2, args=("downpour",))
    assert torch.get_num_threads() == 2 and torch.equal(torch.rand(3), wanted)


def test_what_is_not_the_recorded_run_is_said():
    _, trace = recorded("downpour")
    how = {"shards": 2, "work": train, "workers": 2}
    with pytest.raises(Diverged, match="push 1 of worker 0 to shard 0 has other numbers"):
        replay(trace, model(), "adagrad:lr=0.1", **how, args=("overlap",))
    with pytest.raises(Diverged, match=r"push 2 of worker 0 to shard . has other numbers"):
        replay(trace, model(), "adagrad:lr=0.2", **how)
    with pytest.raises(Diverged, match=r"worker . does not make p... \d+ to shard ., which was recorded"):
        replay(trace, model(), "adagrad:lr=0.1", **how, args=("downpour", 20))
    with pytest.raises(Diverged, match=r"worker . does not make") as error:
        replay(trace, model(), "adagrad:lr=0.1", **{**how, "work": broken})
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    with pytest.raises(ValueError, match="the trace is of 2 shards, and there are 1; give shards=2"):
        replay(trace, model(), "adagrad:lr=0.1", **{**how, "shards": 1})
    events = [list(x) for x in trace.shards]
    events[0][0], events[0][3] = events[0][3], events[0][0]  # a push before the pull that it is computed at
    with pytest.raises(Diverged, match="does not make"):
        replay(replace(trace, shards=tuple(map(tuple, events))), model(), "adagrad:lr=0.1", **how)


def broken(worker):
    raise ZeroDivisionError


def test_a_trace_is_a_file_that_is_checked(tmp_path):
    path, (_, trace) = tmp_path / "trace.json", recorded("downpour", steps=4)
    trace.save(path)
    assert Trace.load(path) == trace and json.loads(path.read_text())["kind"] == "ravine.parallel.trace"
    good = json.loads(path.read_text())
    for wrong, said in (
        ("{", "is not a trace of a parameter server"),
        ("[1]", r"is not a trace of a parameter server; it has \[1\]"),
        (json.dumps(good | {"version": 2}), "is a trace of version 2, and this ravine reads 1"),
        (json.dumps(good | {"shards": [[["pull", 0, 1]]]}), r"shard 0, event 0 is \['pull', 0, 1\]; it must be"),
        (
            json.dumps(good | {"shards": [[], [["pull", 0, 1, 0], ["push", 0, 1.5, 0]]]}),
            "shard 1, event 1: number is 1.5",
        ),
        (json.dumps(good | {"shards": [3]}), "shard 0, event 0 is 3"),
        (json.dumps(good | {"shards": [[["look", 0, 1, 0]]]}), "push or pull or leave"),
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=said):
            Trace.load(path)


def test_without_record_there_is_none():
    server = ParameterServer.__new__(ParameterServer)
    server.plan = Here(model()).plan
    with pytest.raises(RuntimeError, match="make it with record=True"):
        server.trace()
