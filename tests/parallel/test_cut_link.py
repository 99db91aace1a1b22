"""Two nodes of a Ray cluster, each in a network of its own, and the link between them is cut: the part with the owner
goes on from the snapshot of the shard that it cannot reach, and nobody waits without a limit."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import ravine

RAY = shutil.which("ray", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(find_spec("ray") is None or RAY is None, reason="needs the extra ray"),
]
HEAD, OTHER = "10.99.71.1", "10.99.71.2"
DRIVER = """
import json, sys, time
from inprocess import model
from work import train
from ravine.parallel.engines.cluster import join, ray
from ravine.parallel.server.parameter_server import ParameterServer

if __name__ == "__main__":
    join()
    while ray.cluster_resources().get("CPU", 0) < 4:  # both nodes: shards are spread over those that are known
        time.sleep(0.1)
    made = {"checkpoint": sys.argv[1], "checkpoint_every": 5, "patience": 120.0, "engine": "ray"}
    with ParameterServer(model(), "sgd:lr=0.001", shards=2, resources={"resources": {"near": 1}}, **made) as server:
        worker = server.hire(train, 1, ("downpour", 300, 0.05))[0]
        while sum(server.metrics()["accepted"]) < 20:
            time.sleep(0.05)
        print("begun", flush=True)
        outcome = worker.wait(240)
        metrics = server.metrics()
        kept = {k: metrics[k] for k in ("accepted", "lost", "incarnation")}
        print(json.dumps({"outcome": outcome, **kept}), flush=True)
    ray.shutdown()
"""


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def networks():
    """Two network namespaces with a link; whatever runs in them ends with them."""
    a, b = f"rv{os.getpid()}a", f"rv{os.getpid()}b"
    try:
        ip("netns", "add", a)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    try:
        ip("netns", "add", b)
        ip("link", "add", a, "netns", a, "type", "veth", "peer", "name", b, "netns", b)
        for name, address in ((a, HEAD), (b, OTHER)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", name, "up")
        yield a, b
    finally:
        for name in (a, b):
            for pid in ip("netns", "pids", name).split() if Path(f"/run/netns/{name}").exists() else ():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def told(driver, beginning):
    """The next line of the driver that begins so: Ray speaks, too."""
    for line in driver.stdout:
        if line.startswith(beginning):
            return line
    raise AssertionError(driver.communicate()[1])


def test_the_part_with_the_owner_goes_on(networks, tmp_path):
    a, b = networks
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "snapshots").mkdir()
    env = os.environ | {
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(Path(ravine.__file__).parents[1]), str(Path(__file__).parent / "server")]),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        **{f"RAY_health_check_{k}": "1000" for k in ("initial_delay_ms", "period_ms", "timeout_ms")},
        "RAY_health_check_failure_threshold": "5",
    }

    def inside(name, *command):
        return ["ip", "netns", "exec", name, *command]

    at = ("--num-cpus", "2", "--object-store-memory", "100000000", "--disable-usage-stats")
    near = ("--resources", '{"near": 1}')
    head = ("--head", *near, "--node-ip-address", HEAD, "--port", "6379", "--include-dashboard", "false", *at)
    more = {"env": env, "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 200}
    for name, words in ((a, head), (b, ("--address", f"{HEAD}:6379", "--node-ip-address", OTHER, *at))):
        done = subprocess.run(inside(name, RAY, "start", *words), **more)
        assert done.returncode == 0, done.stdout + done.stderr
    command = inside(a, sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "snapshots"))
    to = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    driver = subprocess.Popen(command, env=env | {"RAY_ADDRESS": f"{HEAD}:6379"}, **to)
    try:
        told(driver, "begun")
        ip("-n", a, "link", "set", a, "down")
        start = time.monotonic()
        found = json.loads(told(driver, "{"))
    finally:
        driver.kill()
        driver.communicate()
    value, error = found["outcome"]
    assert error is None and time.monotonic() - start < 240
    acknowledged, fenced, refused = value
    assert acknowledged + fenced == 300 and refused == 0
    assert sorted(found["incarnation"]) == [1, 2] and 0 <= sum(found["lost"]) <= 6
