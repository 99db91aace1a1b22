"""The comparison of methods for matrices: what is kept of it, and its tasks."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from ravine.lab.tasks import load_task
from ravine.lab.tasks.task import Data

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_letters_are_of_each_seed_and_who_misses_has_none():
    lettered = import_module("matrix_methods").lettered
    found = lettered(
        {"a slow one": [200.0, 220.0, 210.0], "quick": [100.0, 111.0, 104.0], "lost": [90.0, float("inf"), 90.0]}
    )
    assert found == {"a slow one": "b", "quick": "a", "lost": ""}
    assert lettered({"a": [100.0, 120.0, 90.0], "b": [110.0, 95.0, 115.0]}) == {"a": "a", "b": "a"}


def test_what_is_kept_says_steps_and_seconds():
    script, one = import_module("matrix_methods"), import_module("tests.lab.synthetic").outcome()
    kept = script.told(one)
    first = one.methods[0]
    row = kept["methods"][first.name]
    assert row["loss"] == pytest.approx(first.loss) and row["letters"] == one.groups[first.name]
    assert row["seconds"] == pytest.approx(row["steps"] * first.time.whole / 1e3)
    table = script.tables({"tasks": {"line": kept}})
    assert table.count("\n| ") == len(one.methods) + 1
    assert f"| {first.name} |" in table and "diverged" in table


@pytest.mark.parametrize(
    ("name", "task", "steps"), [("tinyshakespeare", "tinyshakespeare", 256), ("autoencoder", "autoencoder", 120),
                                ("fashion_mnist", "fashion-mnist", 150)]
)  # fmt: skip
def test_a_task_is_the_lab_s_on_its_first_rows(name, task, steps, monkeypatch):
    tasks, lab = import_module("matrix_tasks"), load_task(task)
    x = torch.arange(50_000)
    whole = Data(x, x + 1, x[:10_000], x[:10_000], x[:10_000], x[:10_000])
    monkeypatch.setattr(getattr(tasks, f"lab_{name}"), "task", lambda folder: replace(lab, data=lambda: whole))
    made = getattr(tasks, name)()
    data = made.load()
    assert -(-len(data.x) // made.batch) == steps and torch.equal(data.y, data.x + 1)
    assert len(data.x_valid) <= 2_000 and data.x_test is not None
    assert made.about.startswith("The first") and made.model is lab.model
