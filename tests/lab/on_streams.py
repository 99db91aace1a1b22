"""Runs commands one after the other on a standard output that is closed, full or in ASCII: python on_streams.py KIND
COMMANDS. Says their status, standard error and standard output in results.json, in the folder it is called in."""

import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, os.getcwd())

from lab.conftest import compared
from ravine.cli import main


def compare_few() -> int:
    """`compare` itself, with trials in this process."""
    try:
        compared(Path.cwd(), "--optimizers", "sgd")
    except AssertionError:
        return 2
    return 0


def on(kind: str, arguments: list[str]) -> tuple[int, str, str]:
    """One of them; its standard output is that of ASCII alone."""
    err, flags = os.open("err", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    os.dup2(err, 2)
    os.close(err)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="ascii", line_buffering=True)
    sys.stdout = None
    with suppress(OSError):
        os.close(1)
    if kind != "closed":
        assert os.open("/dev/full" if kind == "full" else "out", flags) == 1
        sys.stdout = io.TextIOWrapper(
            os.fdopen(1, "wb", closefd=False), encoding="ascii" if kind == "ascii" else "utf-8"
        )
    try:
        status = main(arguments) if arguments != ["compare few"] else compare_few()
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    except BaseException as error:
        status = 99
        print(f"traceback: {error!r}", file=sys.stderr)
    with suppress(OSError):
        sys.stdout.flush()  # as Python does at its end
    sys.stderr.flush()
    printed = Path("out").read_bytes().decode("latin-1") if kind == "ascii" else ""
    return status, Path("err").read_text(), printed


if __name__ == "__main__":
    results = [on(sys.argv[1], arguments) for arguments in json.loads(sys.argv[2])]
    Path("results.json").write_text(json.dumps(results))
