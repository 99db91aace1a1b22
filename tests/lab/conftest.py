"""What the lab's tests share: the command, one undisturbed smoke run, the real data."""

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest

from ravine.cli import main
from ravine.lab.commands import one_task
from ravine.lab.sweep.worker import attempt
from ravine.lab.tasks import load_task

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-c", "import sys; from ravine.cli import main; sys.exit(main())"]


@pytest.fixture(scope="session")
def ravine_command():
    """Runs `ravine ARGUMENTS` in a folder, in this process to save seconds: its status and what it printed."""

    def run(*arguments: str, cwd: Path) -> tuple[int, str]:
        out = io.StringIO()
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            return main(list(arguments)), out.getvalue()

    return run


@pytest.fixture(scope="session")
def smoke(ravine_command, tmp_path_factory):
    """The folder of one undisturbed `ravine compare --tier smoke`, and what it printed."""
    folder = tmp_path_factory.mktemp("smoke")
    status, printed = ravine_command("compare", "--tier", "smoke", cwd=folder)
    assert status == 0, printed
    return folder / "runs" / "digits", printed


OWN = """
from pathlib import Path
import torch
import ravine
from ravine.lab import Task

(Path(__file__).parent / "imported").touch()

def data():
    x = torch.randn(24, 2)
    y = (x.sum(1) > 0).long()
    return x[:8], y[:8], x[8:16], y[8:16], x[16:], y[16:]

task = Task("few", data, lambda: torch.nn.Linear(2, 2), batch=4, epochs=2)

class Mine(ravine.Adam):
    \"\"\"Somebody's own.\"\"\"
"""


def inline(queue, task, folder, data, devices, records, engine="processes"):
    """In the place of `sweep`: the trials are run in this process, which saves seconds."""
    made = load_task(task, folder)
    while queue:
        yield from attempt(queue.popleft(), made, data, lambda trial, step: None)


def compared(folder: Path, *arguments: str, code: str = OWN, name: str = "mine:task", out: str = "kept") -> None:
    """`ravine compare` on somebody's own small task in `folder`, whose records are in `folder`/`out`."""
    (folder / "mine.py").write_text(code)
    said = ["compare", "--task", name, "--out", out, "--points", "2", "--seeds", "2", "--workers", "1", *arguments]
    with pytest.MonkeyPatch.context() as patched, contextlib.chdir(folder):
        patched.setattr(one_task, "sweep", inline)
        patched.setattr(one_task.stopwatch.measure, "__defaults__", (0.0,))
        patched.setattr(sys, "path", [str(folder), *sys.path])
        sys.modules.pop("mine", None)  # another test's
        try:
            assert main(said) == 0
        finally:
            sys.modules.pop("mine", None)


@pytest.fixture(scope="session")
def few(tmp_path_factory) -> Path:
    """The folder of a finished comparison of somebody's own task with an optimizer of ours and one of their own."""
    folder = tmp_path_factory.mktemp("few")
    with contextlib.redirect_stdout(io.StringIO()):
        compared(folder, "--optimizers", "sgd,mine:Mine")
    (folder / "imported").unlink()
    return folder


@pytest.fixture(scope="session")
def fashion_mnist() -> Path:
    """The folder of the real files."""
    return _data("fashion-mnist", "train-images-idx3-ubyte.gz")


@pytest.fixture(scope="session")
def tinyshakespeare() -> Path:
    """The folder of the real text."""
    return _data("tinyshakespeare", "input.txt")


@pytest.fixture(scope="session")
def banking77() -> Path:
    """The folder of the real questions."""
    return _data("banking77", "train.csv")


@pytest.fixture(scope="session")
def adult() -> Path:
    """The folder of the real people."""
    return _data("adult", "adult.data")


def _data(name: str, file: str) -> Path:
    folder = Path(os.environ.get("RAVINE_DATA", ROOT.parent / "shared" / "data")) / name
    if not (folder / file).exists():
        pytest.skip(f"no {name} at {folder} (set RAVINE_DATA)")
    return folder
