"""scripts/setup installs each extra once, scripts/test has its tiers, and scripts/demo what it tells to type next."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="bash is not installed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose Python writes down what pip is asked for, and whose ravine what it is asked."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    stubs = tmp_path / ".venv" / "bin"
    stubs.mkdir(parents=True)
    for name in ("python", "ravine"):
        stub = stubs / name
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/asked"\nexit ${{STATUS:-0}}\n')
        stub.chmod(0o755)
    return tmp_path


def asked(clone: Path, script: str, *arguments: str, **env: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """What a script has asked pip and ravine for."""
    (clone / "asked").write_text("")
    command = [str(BASH), f"scripts/{script}", *arguments]
    env = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, **env}
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True)
    return (clone / "asked").read_text().splitlines(), done


def installed(clone: Path, *arguments: str) -> str:
    """The extras that scripts/setup has installed."""
    lines, done = asked(clone, "setup", *arguments)
    assert done.returncode == 0, done.stderr
    return "".join(re.findall(r"-e \.\[(.*)\]", "\n".join(lines)))


def test_an_extra_is_installed_once(clone: Path):
    assert installed(clone, "--demo") == "lab,play,tune"
    assert installed(clone, "--demo") == ""
    assert installed(clone) == "test"
    assert installed(clone, "--all") == "integrations,ray,ft,tensorboard,wandb,mlflow,parquet"
    assert [installed(clone, "--all"), installed(clone), installed(clone, "--demo")] == ["", "", ""]


def test_another_version_installs_anew(clone: Path):
    installed(clone, "--demo")
    with (clone / "constraints.txt").open("a") as file:
        file.write("idna==1.0\n")
    assert installed(clone, "--demo") == "lab,play,tune"


def test_what_was_not_installed_is_not_written_down(clone: Path):
    _, done = asked(clone, "setup", "--demo", STATUS="1")
    assert done.returncode == 1
    assert installed(clone, "--demo") == "lab,play,tune"


def test_the_demo_says_what_is_next_and_how_to_type_it(clone: Path):
    lines, done = asked(clone, "demo", "--tier", "smoke")
    assert done.returncode == 0 and lines[-1] == "ravine compare --tier smoke"
    assert f"What to do next, in {clone.resolve()}:" in done.stdout
    commands = re.findall(r"^  \.venv/bin/ravine (\w+)", done.stdout, re.MULTILINE)
    assert commands == ["play", "tune"]  # each has an extra of its name, and the demo installs it
    assert set(commands) <= set((clone / ".venv" / "installed").read_text().split())
    (example,) = re.findall(r"\.venv/bin/python (\S+)", done.stdout)
    assert (ROOT / example).exists() and "source .venv/bin/activate" in done.stdout


def test_a_demo_that_was_stopped_says_nothing_more(clone: Path):
    installed(clone, "--demo")
    _, done = asked(clone, "demo", STATUS="130")
    assert done.returncode == 130 and "next" not in done.stdout


def test_an_unknown_option_is_named(clone: Path):
    lines, done = asked(clone, "setup", "--gpu")
    assert done.returncode == 2 and lines == []
    assert done.stderr == "scripts/setup: unknown option '--gpu'; it takes --demo, --all and --browser\n"


@pytest.mark.parametrize(
    ("tier", "marks"),
    [
        ([], "not ci and not slow and not faults"),
        (["--ci"], "not slow and not faults"),
        (["--all"], "not faults"),
        (["--faults"], "faults"),
    ],
)
def test_a_tier_has_all_of_those_before_it(clone: Path, tier: list[str], marks: str):
    lines, done = asked(clone, "test", *tier, "tests/laws")
    assert done.returncode == 0 and lines[-1].endswith(f"-m {marks} tests/laws"), done.stderr


def test_extras_that_pages_and_commands_name_are_there():
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    named = re.findall(r"pip install \"\.\[([\w,]+)\]\"", "\n".join(x.read_text(encoding="utf-8") for x in texts))
    assert len(named) > 5 and {extra for names in named for extra in names.split(",")} <= EXTRAS.keys()


def test_all_is_every_extra_that_a_command_has():
    (everything,) = EXTRAS["all"]
    named = set(re.findall(r"\w+", everything)) - {"ravine"}
    assert named == set(EXTRAS) - {"all", "test", "docs", "authors", "peers", "integrations"}  # of the developers
