"""The same server on a Ray cluster of this machine: the same laws, and the same errors."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "server"))  # of the modules below

from inprocess import model
from work import KINDS, train, until_lost

import ravine
from ravine.parallel.engines.lines import ServerLost
from ravine.parallel.server.admit import Finite
from ravine.parallel.server.parameter_server import ParameterServer
from ravine.parallel.server.replay import replay

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")]

SOURCE = str(Path(ravine.__file__).parents[1])


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One for all tests, on the loopback alone."""
    if find_spec("ray") is None:
        return
    import warnings

    from ravine.parallel.engines.cluster import join, ray

    os.environ["PYTHONPATH"] = os.pathsep.join([SOURCE, str(Path(__file__).parent / "server")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        join(2)
        yield ray
        ray.shutdown()


@pytest.mark.parametrize("kind", ["downpour", "elastic"])
def test_a_run_on_ray_is_made_again_bit_for_bit(kind):
    rule = KINDS[kind][2]
    with ParameterServer(model(), rule, shards=2, record=True, engine="ray") as server:
        outcomes = server.run(train, workers=2, args=(kind,))
        found, trace = server.parameters(), server.trace()
    assert [x.error for x in outcomes] == [None, None]
    again = replay(trace, model(), rule, shards=2, work=train, workers=2, args=(kind,))
    assert all(torch.equal(x, again[k]) for k, x in found.items())


def test_a_shard_and_a_worker_are_killed(tmp_path, cluster):
    with ParameterServer(
        model(), "sgd:lr=0.001", shards=2, checkpoint=tmp_path, checkpoint_every=7, admit=[Finite()], engine="ray"
    ) as server:
        workers = server.hire(train, 2, ("downpour", 60, 0.01))
        end = time.monotonic() + 60
        while sum(server.metrics()["accepted"]) < 20:
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(workers[1].pid, signal.SIGKILL)
        server.engine.kill_shard(0)
        value, error = workers[0].wait(120)
        assert error is None and "its actor ended" in workers[1].wait(60)[1]
        metrics, (acknowledged, fenced, refused) = server.metrics(), value
        assert metrics["incarnation"] == [2, 1] and refused == 0 and acknowledged + fenced == 60
        assert metrics["lost"][0] <= 7 and metrics["lost"][1] == 0
        late = server.hire(train, 1, ("downpour", 10))  # who comes later
        assert late[0].wait(60)[1] is None


def test_a_shard_without_snapshots_is_dead_for_good():
    with ParameterServer(model(), engine="ray", patience=600.0) as server:
        worker = server.hire(until_lost, 1, (0.01,))[0]
        server.engine.kill_shard(0)
        with pytest.raises(ServerLost, match="shard 0 of the parameter server has ended"):
            for _ in range(600):  # Ray kills when it comes to it
                server.metrics()
                time.sleep(0.05)
        assert "has ended" in worker.wait(60)[0][0]


def test_a_garbled_snapshot_and_resources_that_nobody_has(tmp_path):
    (tmp_path / "shard-0.pt").write_bytes(b"PK no")
    with pytest.raises(RuntimeError, match=r"shard 0 does not start: .*shard-0\.pt: not a snapshot"):
        ParameterServer(model(), checkpoint=tmp_path, engine="ray")
    with pytest.raises(ValueError, match="is to take 3 GPUs, and the Ray cluster has 0"):
        ParameterServer(model(), engine="ray", resources={"num_gpus": 3})


def test_close_ends_its_actors_and_not_a_cluster_that_was_there(cluster):
    server = ParameterServer(model(), engine="ray")
    worker = server.hire(train, 1, ("downpour", 10**6, 0.01))[0]
    pid = worker.pid
    server.close()
    server.close()
    assert cluster.is_initialized() and worker.wait(60)[0] is None
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(RuntimeError, match="it is closed"):
        server.metrics()


SCRIPT = """
import torch
from ravine.parallel.server.parameter_server import ParameterServer
from ravine.parallel.workers import Downpour
import ravine

def mine(worker, steps):
    net = torch.nn.Linear(2, 1)
    opt = Downpour(worker.server, ravine.SGD(net.parameters(), lr=0.1))
    for _ in range(steps):
        net(torch.ones(1, 2)).sum().backward()
        opt.step()
    return opt.client.acknowledged

if __name__ == "__main__":
    with ParameterServer(torch.nn.Linear(2, 1), engine="ray") as server:
        print(server.run(mine, workers=1, args=(3,))[0].value)
"""


def test_a_function_of_the_script_itself(tmp_path):
    """In an actor, the script is not the main module: its functions are sent as they are."""
    (tmp_path / "script.py").write_text(SCRIPT)
    how = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": SOURCE}, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "script.py"], **how, timeout=300)
    assert done.stdout.strip().splitlines()[-1:] == ["3"], done.stderr


def test_without_ray_the_extra_is_named():
    code = (
        "import sys, torch; sys.modules['ray'] = None\n"
        "from ravine.parallel.server.parameter_server import ParameterServer\n"
        "ParameterServer(torch.nn.Linear(2, 1), engine='ray')"
    )
    env = os.environ | {"PYTHONPATH": SOURCE}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stderr.strip().splitlines()[-1] == (
        'ModuleNotFoundError: engine="ray" needs Ray: pip install "ravine[ray]"'
    )
