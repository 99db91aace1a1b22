"""The same trials on a Ray cluster of this machine: the same table, and nothing is left of it."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from .conftest import COMMAND
from .test_compare import _keys, _wait, linux, table

pytestmark = [
    linux, pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")
]  # fmt: skip
MORTAL = '''
import os, signal
from pathlib import Path
import torch

class Mortal(torch.optim.SGD):
    """The first one's process is killed in its first step."""
    def step(self, closure=None):
        if not Path("dead").exists():
            Path("dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step()
'''


@pytest.fixture
def started(tmp_path):
    """Starts a comparison in a folder; whatever it starts can be told by the mark in its environment."""
    processes = []

    def start(*arguments: str) -> tuple[subprocess.Popen, Path]:
        folder = tmp_path / str(len(processes))
        folder.mkdir()
        (folder / "mortal.py").write_text(MORTAL)
        command = [*COMMAND, "compare", "--tier", "smoke", "--workers", "2", *arguments]
        env = os.environ | {"RAVINE_MARK": str(folder)}
        to = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **to))
        return processes[-1], folder

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_same_table_though_a_worker_dies(started):
    optimizers = ("--optimizers", "adam,mortal:Mortal")
    plain, here = started(*optimizers)
    assert "a worker died (exit code -9)" in plain.communicate(timeout=300)[0] and plain.returncode == 0

    on_ray, there = started(*optimizers, "--engine", "ray")
    while on_ray.poll() is None:
        assert not open_to_others(marked(there))
        time.sleep(0.3)
    printed = on_ray.communicate()[0]
    assert on_ray.returncode == 0 and "a worker died (ActorDiedError)" in printed, printed
    assert len(table(here / "runs" / "digits")) == 22
    assert table(here / "runs" / "digits") == table(there / "runs" / "digits")
    _wait(lambda: not marked(there))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_nothing_is_left_of_the_cluster(started, how):
    process, folder = started("--engine", "ray", "--epochs", "50")
    _wait(lambda: bool(_keys(folder / "runs" / "digits")), 120)
    assert len(marked(folder)) > 3  # Ray's own, and workers
    os.kill(process.pid, how)
    printed = process.communicate(timeout=60)[0]
    _wait(lambda: not marked(folder), 180)  # where its server was killed, Ray's agents call it for a minute
    if how == signal.SIGINT:
        assert process.returncode == 130 and "ravine: stopped; what was finished is kept" in printed, printed


def marked(folder: Path) -> list[int]:
    """The processes that a comparison in this folder has started, and itself."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it is gone
            if f"RAVINE_MARK={folder}".encode() in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return found


def open_to_others(pids: list[int]) -> list[str]:
    """The sockets of these processes that listen to more than this machine."""
    inodes = set()
    for pid in pids:
        with suppress(OSError):
            inodes |= {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    return [row[1] for row in rows
            if row[3] == "0A" and f"socket:[{row[9]}]" in inodes and row[1].split(":")[0] not in loopback]  # fmt: skip
