"""Several workers, each a process (meeting.py): the loops of the papers, equal starts, gradients of all kinds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("meeting.py")


def ranks(world: int, folder: Path, *laws: str) -> list[str]:
    """What each process prints; all that they wrote where one has failed."""
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
    made = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(r), str(world), str(folder / "store"), *laws], env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for r in range(world)
    ]  # fmt: skip
    out = [process.communicate(timeout=300) for process in made]
    assert all(stdout.strip() == "met" for stdout, _ in out), "\n\n".join(err[-3000:] for _, err in out)
    return [stdout.strip() for stdout, _ in out]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")
@pytest.mark.parametrize(
    "world", [pytest.param(2, marks=pytest.mark.ci), pytest.param(3, marks=pytest.mark.slow)], ids=str
)
def test_laws_of_several_workers(world: int, tmp_path: Path):
    assert ranks(world, tmp_path) == ["met"] * world
