"""Every example runs, and those in docstrings too; the pages' are in tests/docs."""

import doctest
import importlib
import importlib.util
import os
import re
from pathlib import Path

import pytest

import ravine

ROOT = Path(__file__).parent.parent


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["nag", "radam"])
def test_train_learns_the_digits(name: str):
    assert load("train").main(name, epochs=8) > 0.85


def test_the_whole_loop_learns_the_digits(capsys: pytest.CaptureFixture[str]):
    assert load("loop").main(epochs=15) > 0.85
    assert len(capsys.readouterr().out.splitlines()) == 1  # the monitor had nothing to say
    assert len((ROOT / "examples" / "loop.py").read_text().splitlines()) < 60


def test_every_example_is_short():
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path


def test_the_shares_of_the_paces_are_those_of_the_page():
    rows = re.findall(r"\| `(\w+)` \| ((?:[\d.]+ \| ){5})", (ROOT / "docs" / "data.md").read_text())
    assert len(rows) == 7
    for name, shares in rows:
        pace = getattr(ravine.data.pacing, name)(over=1, start=0.1)
        assert [f"{pace(t / 4):.2f}" for t in range(5)] == shares.removesuffix(" | ").split(" | "), name


def test_online_learns_the_digits_before_it_has_seen_them():
    accuracy, naive = load("online").main(None, 10)
    assert accuracy > 0.85 and naive < 0.15


@pytest.mark.ci
def test_online_learns_adult_where_it_is():
    file = Path(os.environ.get("RAVINE_DATA", ROOT.parent / "shared" / "data")) / "adult/adult.data"
    if not file.exists():
        pytest.skip(f"no {file} (set RAVINE_DATA)")
    online = load("online")
    accuracy, naive = online.main(file)
    assert accuracy > 0.85 and 0.75 < naive < 0.77


def test_paths_shows_three_of_them(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plane = load("paths").main(str(tmp_path / "paths.png"), epochs=4, points=9)
    assert (tmp_path / "paths.png").stat().st_size > 20_000
    assert all(track.losses[-1] < track.losses[0] / 2 for track in plane.tracks.values())
    assert sum(plane.shares) > sum(plane.walks)
    assert len((ROOT / "examples" / "paths.py").read_text().splitlines()) < 40


SRC = Path(ravine.__file__).parent
TAUGHT = [path.relative_to(SRC.parent) for path in sorted(SRC.rglob("*.py")) if "    >>> " in path.read_text()]


@pytest.mark.parametrize("path", TAUGHT, ids=str)
def test_docstring_examples(path: Path):
    done = doctest.testmod(importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__")))
    assert done.failed == 0 and done.attempted > 0


def test_the_pages_are_current(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec and spec.loader
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.stale(make.pages()) == [], "run scripts/docs"
