"""What a command writes is there whole or not at all, and what was there stays until then."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("plotly", reason="plotly is not installed")
pytest.importorskip("starlette", reason="the extra play is not installed")

RACE = ["race", "bowl", "--optimizers", "sgd", "--lr", "0.1", "--steps", "9"]
COMMANDS = {
    "race.png": [*RACE, "-o"],
    "race.svg": [*RACE, "-o"],
    "race.pdf": [*RACE, "-o"],
    "race.gif": [*RACE, "-o"],
    "lesson.png": ["race", "--lesson", "nag", "-o"],
    "basins.png": [*RACE[:6], "--steps", "2", "--map", "basins", "-o"],
    "averages.png": ["picture", "averages", "-o"],
    "play.html": ["play", "--surfaces", "bowl", "--optimizers", "sgd", "--export"],
    "cosine.html": ["schedule", "cosine", "-o"],
    "paths.png": ["paths", "--task", "digits", "--optimizers", "sgd", "--epochs", "1", "--rates", "1", "--points", "3",
                  "--rows", "9", "-o"],
    "lr.html": ["lr-find", "--task", "digits", "--steps", "20", "--seeds", "1", "-o"],
}  # fmt: skip
FULL = """
import contextlib, io, json, resource, signal, sys
from ravine.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then to write more is an error, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
said, out = {}, sys.stdout
for name, argv in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stderr(io.StringIO()) as complaint, contextlib.redirect_stdout(io.StringIO()):
        said[name] = main(argv), complaint.getvalue()
print(json.dumps(said))
"""


@pytest.mark.ci
@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are POSIX's")
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path):
    for name in COMMANDS:
        (tmp_path / name).write_text("before")
    asked = {name: [*argv, str(tmp_path / name)] for name, argv in COMMANDS.items()}
    run = subprocess.run([sys.executable, "-c", FULL, json.dumps(asked)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for name, (status, complaint) in json.loads(run.stdout).items():
        assert status == 2 and complaint.startswith("ravine: ") and complaint.count("\n") == 1, (name, complaint)
    assert {x.name: x.read_text() for x in tmp_path.iterdir()} == dict.fromkeys(COMMANDS, "before")
