"""What docs/tasks.md says of noise in the gradients is what was recorded."""

import json
import math
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_the_page_tells_of_all_recorded_runs():
    losses = json.loads((ROOT / "benchmarks/results/gradient-noise-cpu.json").read_text())["losses"]
    page = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
    rows = {
        "with `GradientNoise(0.1)`": "SGD, noise 0.1",
        "with `GradientNoise(1.0)`": "SGD, noise 1",
        "with `mods=[ClipNorm(1.0), GradientNoise(0.1)]`": "SGD, clip 1, noise 0.1",
        "Adam at rate 0.001": "Adam",
        "SGD, also with": "SGD",
    }
    assert losses.keys() - rows.values() == {"SGD, noise 0.01", "SGD, clip 1"}
    assert all(x is not None and x > 2.29 for name in ("SGD, noise 0.01", "SGD, clip 1") for x in losses[name])
    for said, name in rows.items():
        line = next(line for line in page.splitlines() if line.startswith(f"  | {said}"))
        learned = [x for x in losses[name] if x is not None and x < 2.29]
        cells = [x.strip() for x in line.strip(" |").split("|")]
        assert cells[1] == str(len(learned)) and cells[3] == str(losses[name].count(None))
        assert cells[4] == str(10 - len(learned) - losses[name].count(None))
        ends = [float(x) for x in re.findall(r"[\d.]+", cells[2])]
        assert ends == sorted({round(f(learned), 2) for f in (min, max)} if learned else ())


def test_the_script_runs(monkeypatch):
    script = import_module("gradient_noise")
    from ravine.lab.tasks import load_task

    tiny = load_task("deep-narrow").tiny()
    data = tiny.data()
    for make in script.RUNS.values():
        found = script.final(make, tiny.model, data, 0, steps=3)
        assert found is None or math.isfinite(found)
