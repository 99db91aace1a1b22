"""Recorded delays: their files, clusters made of them, and predictions."""

import time

import pytest
import torch
from torch import nn

from ravine.parallel.server.parameter_server import ParameterServer
from ravine.parallel.simulate import (
    Asynchronous,
    Cluster,
    Constant,
    Exponential,
    LogNormal,
    Network,
    Quadratic,
    Synchronous,
    Trace,
    predict,
    simulate,
)  # fmt: skip
from ravine.parallel.simulate.trace import Row
from ravine.parallel.workers import Downpour

ROWS = [Row(1, 0.25, 0.5, 0.125, 1), Row(0, 0.0, 0.25, 0.0625, 0), Row(0, 0.5, 1 / 3, 0.0, -1)]


@pytest.mark.parametrize("name", ["trace.csv", "trace.jsonl"])
def test_a_trace_comes_back_from_its_file(name, tmp_path):
    Trace(ROWS).write(tmp_path / name)
    read = Trace.read(tmp_path / name)
    assert list(read) == sorted(ROWS, key=lambda x: x.start)
    assert (read.workers, read.staleness, read.seconds) == (2, {0: 1, 1: 1}, 0.25 + 0.5 + 0.125)


def test_a_trace_without_staleness(tmp_path):
    (tmp_path / "x.csv").write_text("start,worker,send,compute\n0,0,0.1,1\n")
    assert list(Trace.read(tmp_path / "x.csv")) == [Row(0, 0.0, 1.0, 0.1, -1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("worker,start,compute\n0,0,1\n", "line 2: there is no send"),
        ("worker,start,compute,send\n0,0,1,0\n0,0,soon,0\n", "line 3: compute is 'soon'"),
        ("worker,start,compute,send\n0,0,-1,0\n", "must be a number from 0"),
        ("worker,start,compute,send\n0.5,0,1,0\n", "worker is '0.5'"),
        ("worker,start,compute,send,stale\n0,0,1,0,0.5\n", "stale is '0.5'"),
        ("worker,start,compute,send\n", "has no steps"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_line(text, says, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        Trace.read(tmp_path / "x.csv")


def test_public_delays_become_a_trace(tmp_path):
    """A line an iteration, a column a worker; a delay grows by one until a gradient arrives."""
    path = tmp_path / "PIAG.csv"
    path.write_text("0.0e+00,0.0e+00\n1,1\n2,2\n3,1\n2,2\n3,3\n")
    made = Trace.from_delay_data(path, seconds=0.5)
    assert list(made) == [Row(0, 1.0, 1.0, 0.0, 2), Row(1, 1.0, 0.5, 0.0, 1)]
    path.write_text("0\n1\n0\n")
    with pytest.raises(ValueError, match="several workers"):
        Trace.from_delay_data(path)


def test_a_trace_of_a_simulation_is_what_happened():
    cluster = Cluster(3, [Constant(1.0), Constant(2.0), Constant(3.0)], Network(Constant(0.25)))
    run = simulate(Quadratic(4), Asynchronous("sgd:lr=0.1"), cluster, until=20.0, record=True)
    assert {(x.worker, x.compute, x.send) for x in run.trace} == {(0, 1.0, 0.5), (1, 2.0, 0.5), (2, 3.0, 0.5)}
    assert all(run.staleness[k] >= n for k, n in run.trace.staleness.items())
    assert 0 <= run.accepted - sum(run.trace.staleness.values()) <= 3  # those whose replies are under way
    rounds = simulate(Quadratic(4), Synchronous("sgd:lr=0.1"), cluster, until=20.0, record=True)
    assert {(x.worker, x.compute, x.send) for x in rounds.trace} == {(0, 1.0, 2.25), (1, 2.0, 1.25), (2, 3.0, 0.25)}
    with pytest.raises(ValueError, match="record=True"):
        _ = simulate(Quadratic(4), Asynchronous("sgd:lr=0.1"), cluster, until=3.0).trace


def test_a_prediction_from_a_trace_holds_for_a_run_that_was_not_in_it():
    paces = [LogNormal(x, 0.5) for x in (0.5, 0.7, 1.0, 1.0, 1.5, 2.5)]
    cluster, problem = Cluster(6, paces, Network(Exponential(0.05))), Quadratic(30, noise=0.1)
    seen = simulate(problem, Asynchronous("sgd:lr=0.1"), cluster, 1, until=100.0, record=True)
    method = Asynchronous("adagrad:lr=0.5")
    held_out = simulate(problem, method, cluster, 2, until=60.0)
    made = predict(seen.trace, problem, method, until=60.0, seeds=range(5))
    assert made.distance(dict(held_out.staleness)) < 0.2
    assert all(made.holds(held_out.times[k], held_out.losses[k], slack=0.3) for k in (50, 75, 100))
    assert not made.holds(60.0, held_out.losses[0])
    more = predict(seen.trace, problem, method, until=9.0, seeds=[0], workers=12)
    assert more.distance(dict(held_out.staleness)) > 0.3


STEPS = 120


def train(worker):
    """A worker's process: the steps of `Quadratic(60)`, and their delays."""
    problem = Quadratic(60, noise=0.1)
    p = nn.Parameter(problem.initial[0])
    torch.set_num_threads(1)
    opt = Downpour(worker.server, torch.optim.SGD([p], lr=0.1))
    rows = []
    for step in range(STEPS):
        start = time.monotonic()
        for _ in range(20 * (1 + worker.rank)):  # the second worker computes twice as long
            p.grad = problem.gradient([p], worker.rank, step)[0]
        sent, base = time.monotonic(), opt.client.known[0].base
        opt.step()
        rows.append((worker.rank, start, sent - start, time.monotonic() - sent, opt.client.known[0].base - 1 - base))
    return rows


def recorded():
    problem = Quadratic(60, noise=0.1)
    with ParameterServer([problem.initial[0]], "sgd:lr=0.05") as server:
        rows = [x for outcome in server.run(train, workers=2) for x in outcome.value]
        [x] = server.parameters().values()
        staleness = server.metrics()["staleness"][0]
    first = min(x[1] for x in rows)
    return Trace([(w, start - first, c, s, stale) for w, start, c, s, stale in rows]), problem.loss([x]), staleness


@pytest.mark.slow
def test_a_run_on_real_processes_is_predicted_from_the_delays_of_another():
    seen, _, _ = recorded()
    assert len(seen) == 2 * STEPS and seen.workers == 2
    _, loss, staleness = recorded()
    assert sum(staleness.values()) == 2 * STEPS
    made = predict(seen, Quadratic(60, noise=0.1), Asynchronous("sgd:lr=0.05"), until=seen.seconds, seeds=range(3))
    runs = [
        simulate(
            Quadratic(60, noise=0.1), Asynchronous("sgd:lr=0.05"), Cluster.from_trace(seen), seed, pushes=2 * STEPS
        )
        for seed in range(3)
    ]
    losses = [run.loss for run in runs]
    assert min(losses) / 1.5 < loss < 1.5 * max(losses)
    assert max(made.staleness, key=made.staleness.get) <= 2
    assert made.distance(staleness) < 0.6  # a machine that others use has its hours
