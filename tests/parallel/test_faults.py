"""What breaks while a server trains, on processes: and what is promised holds.

Accepted pushes are those acknowledged, less those reported lost; what was pushed while a shard died may be in or not,
and its worker is told so. Versions only grow in an incarnation. Nobody waits without a limit.

One of each in the ordinary suite; fifty seeded ones of each for scripts/test --faults.
"""

import os
import random
import signal
import socket
import sys
import time
import warnings
from functools import partial
from multiprocessing import AuthenticationError, connection
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "server"))  # of the modules below

from inprocess import model
from work import not_a_number, train, until_lost

import ravine
from ravine.parallel.engines.lines import ServerLost
from ravine.parallel.rules import ElasticCenter
from ravine.parallel.server.admit import Finite
from ravine.parallel.server.parameter_server import ParameterServer
from ravine.parallel.server.snapshot import read, write
from ravine.parallel.workers import Downpour

SEEDS = [pytest.param(n, marks=pytest.mark.ci if n == 0 else pytest.mark.faults) for n in range(51)]
EVERY = 7


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A server with snapshots, for all faults that it survives."""
    folder = tmp_path_factory.mktemp("checkpoint")
    with ParameterServer(
        model(), "sgd:lr=0.001", shards=2, checkpoint=folder, checkpoint_every=EVERY, restarts=10**6, admit=[Finite()]
    ) as made:
        made.run(train, workers=1, args=("downpour", 2))  # what is compiled is compiled
        yield made


class Since:
    """What has changed since then."""

    def __init__(self, server):
        self.server, self.began = server, server.metrics()

    def __getitem__(self, k):
        return [now - then for now, then in zip(self.server.metrics()[k], self.began[k], strict=True)]


def reached(server, accepted, since, patience=30.0):
    """Wait until so many pushes were accepted in all."""
    end = time.monotonic() + patience
    while sum(since["accepted"]) < accepted:
        assert time.monotonic() < end, "the workers do not get on"
        time.sleep(0.002)


def values(workers):
    """What workers returned, each of which came to its end."""
    outcomes = [x.wait(60) for x in workers]
    assert all(error is None for _, error in outcomes), outcomes
    return [value for value, _ in outcomes]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_worker_is_missed_by_nobody(saved, seed):
    rng, since = random.Random(seed), Since(saved)
    workers = saved.hire(train, 2, ("downpour", 30, 0.002))
    reached(saved, rng.randrange(1, 20), since)
    os.kill(workers[1].pid, signal.SIGKILL)
    (one,) = values(workers[:1])
    assert workers[1].wait(30)[1].endswith("exit code -9") or workers[1].wait()[1] is None
    assert one == (30, 0, 0) and since["lost"] == [0, 0] and since["incarnation"] == [0, 0]
    assert all(15 <= x <= 30 for x in since["accepted"]) and since["version"] == since["accepted"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_shard_goes_on_from_its_snapshot_and_says_what_is_lost(saved, seed):
    rng, since = random.Random(seed), Since(saved)
    workers = saved.hire(train, 2, ("downpour", 60, 0.002))
    reached(saved, rng.randrange(1, 40), since)
    saved.engine.kill_shard(dead := rng.randrange(2))
    found = values(workers)
    acknowledged, fenced, refused = (sum(x) for x in zip(*found, strict=True))
    lost = sum(since["lost"])
    assert refused == 0 and since["incarnation"][dead] == 1 and since["incarnation"][1 - dead] == 0
    assert since["lost"][1 - dead] == 0 and lost <= EVERY - 1 + 2  # and what was in flight
    assert acknowledged - lost <= sum(since["accepted"]) <= acknowledged - lost + fenced
    assert acknowledged + fenced == 120 and fenced <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stopped_worker_comes_back(saved, seed):
    rng, since = random.Random(seed), Since(saved)
    workers = saved.hire(train, 2, ("downpour", 30, 0.002))
    reached(saved, rng.randrange(1, 20), since)
    os.kill(workers[1].pid, signal.SIGSTOP)
    try:
        assert values(workers[:1]) == [(30, 0, 0)]
        server_answers = saved.metrics()["version"]
    finally:
        os.kill(workers[1].pid, signal.SIGCONT)
    assert values(workers[1:]) == [(30, 0, 0)]
    assert since["accepted"] == [30, 30] and since["lost"] == [0, 0]
    assert all(a >= b for a, b in zip(saved.metrics()["version"], server_answers, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_of_nan_is_named_and_harms_nobody(saved, seed):
    workers = saved.hire(not_a_number, 2)
    assert values(workers) == [(10, 0), (0, 10)]
    named = saved.metrics()["refused"]
    assert all(x[f"worker {saved.count - 1}: not finite"] == 5 for x in named)
    assert all(x.isfinite().all() for x in saved.parameters().values())


@pytest.fixture(scope="module")
def impatient():
    """A server without snapshots."""
    with ParameterServer(model(), "sgd:lr=0.001", shards=2, patience=2.0) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stopped_shard_is_an_error_after_patience_and_then_goes_on(impatient, seed):
    rng = random.Random(seed)
    worker = impatient.hire(until_lost, 1)[0]
    since = Since(impatient)
    reached(impatient, rng.randrange(1, 20), since)
    pid = impatient.engine.shards[rng.randrange(2)].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        why, seconds = values([worker])[0]
        with pytest.raises(ServerLost, match="has not answered for 2 s"):
            impatient.parameters()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert "has not answered for 2 s" in why and seconds >= 2.0
    impatient.run(train, args=("downpour", 4))


@pytest.mark.ci
def test_callers_without_the_key_and_those_who_say_nothing_keep_up_nobody(impatient):
    callers = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for n, caller in enumerate(callers):
        caller.connect(impatient.engine.address(0))
        if n % 2:
            caller.sendall(b"\x00\x00\x00\x04what")
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        connection.Client(impatient.engine.address(0), authkey=b"guessed")
    impatient.run(train, args=("downpour", 4))
    for caller in callers:
        caller.close()


@pytest.mark.ci
def test_a_large_message_to_a_stopped_shard_does_not_wait_for_ever():
    """Longer than what a socket holds: the write itself would wait."""
    with ParameterServer([torch.zeros(1_000_000)], "sgd:lr=0.1", patience=6.0) as server:
        p = torch.nn.Parameter(torch.zeros(1_000_000))
        opt = Downpour(server.handle(), ravine.SGD([p], lr=0.1))
        p.grad = torch.ones(1_000_000)
        opt.step()
        os.kill(server.engine.shards[0].pid, signal.SIGSTOP)
        with pytest.raises(ServerLost, match="has not answered for 6 s"):
            opt.step()


@pytest.mark.ci
def test_a_shard_that_is_dead_for_good_is_one_error_at_once():
    with ParameterServer(model(), "sgd:lr=0.001", shards=2, patience=600.0) as server:
        worker = server.hire(until_lost)[0]
        reached(server, 4, Since(server))
        server.engine.kill_shard(1)
        why, _ = values([worker])[0]
        wanted = r"shard 1 of the parameter server has ended: .* exit code -9, and .*checkpoint=folder"
        with pytest.raises(ServerLost, match=wanted):
            server.metrics()
        assert "has ended" in why
        with pytest.raises(RuntimeError, match="no worker came to its end") as error:
            server.run(train)
        assert "ServerLost: shard 1" in str(error.value)


@pytest.mark.ci
def test_a_snapshot_that_is_garbled_meanwhile_ends_the_shard_with_the_reason(tmp_path):
    with ParameterServer(
        model(), "sgd:lr=0.001", checkpoint=tmp_path, checkpoint_every=10**6, patience=600.0
    ) as server:
        (tmp_path / "shard-0.pt").write_bytes(b"PK no")
        server.engine.kill_shard(0)
        with pytest.raises(ServerLost, match=r"has ended: it does not start again: .*shard-0\.pt: not a snapshot"):
            server.metrics()


def writes(path, said):
    """One snapshot after another, until it is killed."""
    try:
        n = int(read(path)["n"])
        while True:
            n += 1
            write(path, {"n": n, "xs": [torch.full((20_000,), float(n)) for _ in range(3)]})
            os.write(said, b"x")
    finally:
        os._exit(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_snapshot_is_the_old_or_the_new_one_whenever_its_writer_dies(tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "x.pt"
    write(path, {"n": 0, "xs": [torch.zeros(20_000)] * 3})
    for _ in range(8):
        end, theirs = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: it only writes a file
            pid = os.fork()
        if not pid:
            writes(path, theirs)
        os.close(theirs)
        os.read(end, 1)
        time.sleep(rng.random() * 0.02)  # the moment of its death
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(end)
        found = read(path)
        assert found["n"] > 0 and all((x == found["n"]).all() and len(x) == 20_000 for x in found["xs"])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_center_of_easgd_is_conserved_though_a_worker_dies(center, seed):
    """Every exchange moves both ends, but the last of the dead one, which nobody can know of."""
    rng, since = random.Random(seed), Since(center)
    workers = center.hire(train, 2, ("elastic", 60, 0.001))
    reached(center, rng.randrange(1, 20), since)
    os.kill(workers[1].pid, signal.SIGKILL)
    ((acknowledged, fenced, refused),) = values(workers[:1])
    assert (acknowledged, fenced, refused) == (40, 0, 0)  # every third step of 60, to each shard
    assert all(20 <= x <= 40 for x in since["accepted"]) and since["lost"] == [0, 0]


@pytest.fixture(scope="module")
def center():
    with ParameterServer(model(), partial(ElasticCenter, alpha=0.3), shards=2) as made:
        yield made
