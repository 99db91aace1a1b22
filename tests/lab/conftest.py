"""What the lab's tests share: the command, one undisturbed smoke run, the real data."""

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest

from ravine.cli import main

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
