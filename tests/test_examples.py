"""Every example runs, and the README's too."""

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

import ravine.optimizer
from ravine import gradient_release, groups
from ravine.catalog import bib, create, names
from ravine.schedules import by_name, one_cycle, plateau, scaling, schedule, scheduler

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


def test_every_example_is_short():
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path


def test_readme_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("page", ["gradient_release.md", "schedules.md", "step.md"])
def test_the_code_of_hand_written_pages_runs(page: str):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    assert len(blocks) == (4 if page == "schedules.md" else 3)
    scope: dict[str, object] = {}  # each goes on where the one before it ended
    for block in blocks:
        exec(compile(block, page, "exec"), scope)


def test_contributing_code_makes_an_optimizer():
    import torch

    block = re.findall(r" {3}```python\n(.*?) {3}```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[0]
    scope: dict[str, object] = {"__name__": "signum"}
    exec(compile("\n".join(line[3:] for line in block.splitlines()), "CONTRIBUTING.md", "exec"), scope)
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    p.grad = torch.tensor([0.3, -0.1])
    scope["Signum"]([p], lr=0.5).step()  # pyright: ignore
    assert p.tolist() == [0.5, -1.5]


MODULES = [ravine.optimizer, gradient_release, groups, bib, create, names]
MODULES += [by_name, one_cycle, plateau, scaling, schedule, scheduler]
MODULES += [importlib.import_module("ravine.visuals.terminal")]  # its name in ravine.visuals is the function's


@pytest.mark.parametrize("module", MODULES, ids=lambda x: x.__name__)
def test_docstring_examples(module):
    done = doctest.testmod(module)
    assert done.failed == 0 and done.attempted > 0


def test_the_pages_are_current(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("make", ROOT / "docs" / "make.py")
    assert spec and spec.loader
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.stale(make.pages()) == [], "run scripts/docs"
