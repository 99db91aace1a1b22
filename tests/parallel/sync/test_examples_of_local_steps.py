"""The example learns the digits with each method, alone and on two processes."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "local_steps.py"


def load():
    spec = importlib.util.spec_from_file_location("local_steps", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "epochs"), [("local_sgd", 4), ("diloco", 4), ("streaming", 4), ("easgd", 18), ("eamsgd", 18)]
)
def test_one_worker_learns_the_digits(name: str, epochs: int):
    assert load().main(name, epochs=epochs) > 0.85


@pytest.mark.ci
@pytest.mark.parametrize("name", ["local_sgd", "streaming"])
def test_two_workers_learn_the_digits_together(name: str):
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(x for x in sys.path if x)}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(EXAMPLE),
        name,
    ]
    out = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    found = re.search(rf"{name} on 2 processes: (\d+\.\d)%, (\d+\.\d) MB", out.stdout)
    assert out.returncode == 0 and found, out.stderr[-3000:]
    assert float(found[1]) > 85
