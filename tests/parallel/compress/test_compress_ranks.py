"""Compressors on several processes (compress_ranks.py): one start for all laws, as starting is slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch is built without distributed")
SCRIPT = Path(__file__).with_name("compress_ranks.py")
LAWS = [
    *(
        "means",
        "everything",
        "bytes_sent",
        "powers",
        "from_the_start",
        "hooks",
        "kinds",
        "zeros",
        "not_finite",
        "scaler",
    ),
    *("resume", "other_world", "groups", "refused", "digits", "different"),
]


def start(world: int, folder: Path) -> list[str]:
    """What each process prints: the laws that held, one a line."""
    env = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    made = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(r), str(world), str(folder / "store"), *LAWS], env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for r in range(world)
    ]  # fmt: skip
    return [process.communicate(timeout=600)[0] for process in made]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory):
    """By the number of processes, started when a test first asks."""
    found: dict[int, list[str]] = {}
    return lambda world: found.get(world) or found.setdefault(world, start(world, tmp_path_factory.mktemp("ranks")))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("world", [pytest.param(2, marks=pytest.mark.ci), pytest.param(3, marks=pytest.mark.slow)])
def test_a_law_of_several_processes(world, law, printed):
    assert all(law in out.splitlines() for out in printed(world)), "\n\n".join(printed(world))
