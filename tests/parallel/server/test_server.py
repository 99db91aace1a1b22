"""A server on processes of this machine: what a user does with it, and what is said where he errs."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from inprocess import model
from work import leaves, raises, returns_a_lambda, sometimes, train

import ravine
from ravine.parallel.engines.lines import ServerLost
from ravine.parallel.rules import ElasticCenter
from ravine.parallel.server.admit import Finite, StalenessLR
from ravine.parallel.server.message import Leave
from ravine.parallel.server.parameter_server import ParameterServer
from ravine.parallel.server.snapshot import write
from ravine.parallel.workers import Downpour


@pytest.fixture(scope="module")
def server():
    """One for all tests that do not end it."""
    with ParameterServer(model(), "sgd:lr=0.1", shards=2) as made:
        yield made


def running(pids):
    return [
        pid
        for pid in pids
        if Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    ]


@pytest.mark.ci
def test_workers_train_and_the_model_gets_the_parameters(server):
    before = server.metrics()["accepted"]
    outcomes = server.run(train, workers=2, args=("downpour", 10))
    assert [x.value for x in outcomes] == [(10, 0, 0)] * 2  # 5 pushes to each of 2 shards
    assert [a - b for a, b in zip(server.metrics()["accepted"], before, strict=True)] == [10, 10]
    net = model(seed=9)
    server.copy_to(net)
    assert all(torch.equal(x, p) for x, p in zip(server.parameters().values(), net.parameters(), strict=True))
    assert list(server.parameters()) == [k for k, _ in net.named_parameters()]
    with pytest.raises(ValueError, match=r"copy_to: the server has .* and the model"):
        server.copy_to(torch.nn.Linear(2, 1))


@pytest.mark.ci
def test_workers_have_numbers_of_their_own(server):
    first = [x.value for x in server.run(leaves, workers=2)]
    again = [x.value for x in server.run(leaves, workers=1)]
    assert len({*first, *again}) == 3
    handle = pickle.loads(pickle.dumps(server.handle()))
    assert handle.number == again[0] + 1


@pytest.mark.ci
def test_a_function_that_raises_or_returns_what_cannot_be_sent(server):
    with pytest.raises(RuntimeError, match=r"the function returned <function .*lambda.* cannot be sent back"):
        server.run(returns_a_lambda)
    with pytest.raises(RuntimeError, match="no worker came to its end") as error:
        server.run(raises, workers=2)
    assert "ZeroDivisionError: worker 0 divides by zero" in str(error.value)
    one, two = server.run(sometimes, workers=2)
    assert "ZeroDivisionError" in one.error and two.error is None


@pytest.mark.ci
def test_the_state_of_a_server_that_runs(server, tmp_path):
    server.save(tmp_path / "server.pt")
    saved = server.parameters()
    hired = server.hire(train, args=("downpour", 30, 0.01))
    server.load(tmp_path / "server.pt")
    assert hired[0].wait(60)[1] is None
    server.run(leaves)
    assert not torch.equal(server.parameters()["0.bias"], saved["0.bias"])
    server.load(tmp_path / "server.pt")
    assert all(torch.equal(x, saved[k]) for k, x in server.parameters().items())
    for wrong, said in (({"shards": [1]}, "no state_dict of a server with 2 shards"), ({}, "no state_dict")):
        with pytest.raises(ValueError, match=said):
            server.load_state_dict(wrong)
    state = server.state_dict()
    state["shards"].reverse()
    with pytest.raises(ValueError, match="shard 0 in the state_dict is of another model, rule, or number of shards"):
        server.load_state_dict(state)
    write(tmp_path / "other.pt", state)
    with pytest.raises(ValueError, match=r"other\.pt: .*shard 0"):
        server.load(tmp_path / "other.pt")


@pytest.mark.ci
def test_what_cannot_be_sent_is_said(server):
    with pytest.raises(
        TypeError, match=r"work is .*lambda.* cannot be sent to other processes.*give a function at the top"
    ):
        server.hire(lambda worker: None)
    with pytest.raises(TypeError, match=r"args is .*lock.* cannot be sent"):
        server.run(train, args=(threading.Lock(),))
    with pytest.raises(TypeError, match="work is 3; give a function"):
        server.hire(3)
    with pytest.raises(ValueError, match="workers is 0; it must be a whole number from 1"):
        server.run(train, workers=0)


@pytest.mark.parametrize(
    "more, kind, said",
    [
        ({"rule": lambda params: torch.optim.SGD(params)}, TypeError, "rule is .*lambda.*give a name"),
        ({"rule": "addam"}, ValueError, "addam"),
        ({"rule": 5}, TypeError, "rule is 5; give a name"),
        ({"rule": torch.optim.LBFGS}, TypeError, "LBFGS computes the loss several times in a step"),
        ({"shards": 0}, ValueError, "shards is 0; it must be"),
        ({"shards": 99}, ValueError, "of 99 has no parameter; give fewer"),
        ({"patience": 0}, ValueError, "patience is 0"),
        ({"patience": float("nan")}, ValueError, "patience is nan"),
        ({"restarts": -1}, ValueError, "restarts is -1"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every is 0"),
        ({"engine": "rai"}, ValueError, "must be 'local' or 'ray'"),
        ({"resources": {"num_gpus": 1}}, ValueError, "resources are for engine='ray'"),
        ({"rule": ElasticCenter, "admit": [StalenessLR()]}, ValueError, "sent parameters, not gradients"),
    ],
)
def test_bad_input_starts_nothing(more, kind, said):
    with pytest.raises(kind, match=said):
        ParameterServer(model(), **more)


@pytest.mark.parametrize("params", [[], [1, 2], 5, {"a": 1}])
def test_params_that_are_none(params):
    with pytest.raises(TypeError, match="give a model"):
        ParameterServer(params)


@pytest.mark.ci
def test_a_garbled_or_another_models_checkpoint_is_one_error_and_leaves_nobody(tmp_path):
    (tmp_path / "shard-0.pt").write_bytes(b"PK no")
    (tmp_path / "shard-1.pt").write_bytes(b"PK no")
    with pytest.raises(
        RuntimeError, match=r"shard 0 does not start: .*shard-0\.pt: not a snapshot.*delete what is in it"
    ):
        ParameterServer(model(), shards=2, checkpoint=tmp_path)
    (tmp_path / "shard-0.pt").unlink()
    with pytest.raises(ValueError, match=r"has snapshots of shards \[1\], and there are 2"):
        ParameterServer(model(), shards=2, checkpoint=tmp_path)


@pytest.mark.ci
def test_a_server_goes_on_from_its_checkpoint_and_numbers_go_on_too(tmp_path):
    made = {"rule": partial(ravine.Adam, lr=0.05), "shards": 2, "checkpoint": tmp_path, "admit": [Finite()]}
    with ParameterServer(model(), **made) as server:
        server.run(leaves)
        found = server.parameters()
    with ParameterServer(model(seed=4), **made) as server:
        assert all(torch.equal(x, found[k]) for k, x in server.parameters().items())
        assert server.metrics()["incarnation"] == [2, 2] and server.metrics()["accepted"] == [3, 3]
        assert server.run(leaves)[0].value == 1  # 0 has been: its pushes would be taken for those
        assert server.metrics()["accepted"] == [6, 6]
        pids = [x.pid for x in server.engine.shards]
        worker = server.hire(train, args=("downpour", 10**6, 0.01))[0]
        server.close()
        server.close()
        assert not running([*pids, worker.pid])
        assert "exit code -9" in worker.wait()[1]
        for ask in (
            server.parameters,
            server.metrics,
            server.handle,
            lambda: server.run(leaves),
            lambda: server.hire(leaves),
        ):
            with pytest.raises(RuntimeError, match="it is closed"):
                ask()


@pytest.mark.ci
def test_threads_end_with_their_worker_and_their_server():
    before = set(threading.enumerate())
    with ParameterServer(model(), "sgd:lr=0.1", shards=2) as made:
        workers = [Downpour(made.handle(), ravine.SGD(model().parameters(), lr=0.1)) for _ in range(3)]
        alive = threading.active_count()
        workers.pop().close()
        workers.clear()  # nobody says goodbye for these
        settles_at(alive - 6)
        lines = made.lines
    for x in set(threading.enumerate()) - before:
        x.join(10)
    assert set(threading.enumerate()) <= before
    with pytest.raises(ServerLost, match="are closed"):
        lines.post(0, Leave(0))


def settles_at(alive):
    end = time.monotonic() + 10
    while threading.active_count() > alive and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == alive


@pytest.mark.ci
def test_an_error_in_the_with_block_ends_all_and_comes_out():
    with pytest.raises(KeyError, match="mine"), ParameterServer(model()) as server:
        pids = [x.pid for x in server.engine.shards]
        raise KeyError("mine")
    assert not running(pids)


SCRIPT = """
import torch
from ravine.parallel.server.parameter_server import ParameterServer
from work import leaves
{guard}with ParameterServer(torch.nn.Linear(2, 1)) as server:
    {indent}print(server.metrics()["version"])
    {indent}{more}
"""


def script(tmp_path, **parts):
    (tmp_path / "script.py").write_text(SCRIPT.format(**{"guard": "", "indent": "", "more": ""} | parts))
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(ravine.__file__).parents[1])])
    env = os.environ | {"PYTHONPATH": path}
    to = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(tmp_path / "script.py")], env=env, **to, start_new_session=True)


@pytest.mark.ci
def test_a_script_without_a_guard_is_told_to_have_one(tmp_path):
    out, err = script(tmp_path).communicate(timeout=120)
    assert out == "" and 'if __name__ == "__main__":' in err
    assert "RuntimeError: ParameterServer: shard 0 does not start" in err.strip().splitlines()[-1]


GUARDED = {"guard": 'if __name__ == "__main__":\n  ', "indent": "  "}


@pytest.mark.ci
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_ctrl_c_and_a_killed_owner_leave_nobody(tmp_path, how):
    more = (
        "import time, work; hired = server.hire(work.train, 1, ('downpour', 10**6, 0.1));"
        "print(server.engine.shards[0].pid, hired[0].pid, flush=True); time.sleep(600)"
    )
    process = script(tmp_path, **GUARDED, more=more)
    process.stdout.readline()
    pids = list(map(int, process.stdout.readline().split()))
    assert len(running(pids)) == 2
    os.killpg(process.pid, signal.SIGINT) if how == "SIGINT" else process.kill()
    _, err = process.communicate(timeout=60)
    if how == "SIGINT":
        assert err.count("Traceback") == 1 and "KeyboardInterrupt" in err
    for _ in range(1000):
        if not running(pids):
            break
        time.sleep(0.02)  # the time that a process takes to end, of which nothing tells
    assert not running(pids)
