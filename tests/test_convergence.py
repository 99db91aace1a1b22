"""What benchmarks/convergence.py does with its runs: it counts them right, and goes on where it was stopped."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from ravine.lab.protocol.search import optimizer_class
from ravine.lab.protocol.trial import run
from ravine.lab.tasks import load_task

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def convergence(monkeypatch):
    """The script, with digits for its task and two rates, in this process."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = importlib.import_module("convergence")
    monkeypatch.setattr(script, "PARTS", {"digits": script.Part(train=256, valid=100, epochs=2)})
    monkeypatch.setattr(script, "RATES", {"adam": (1e-5, 1e-2)})
    monkeypatch.setattr(script, "commit", lambda: "this one")
    monkeypatch.setattr(script, "sweep", here)
    return script


def here(jobs, name, folder, data, workers):
    for (trial,) in jobs:
        yield "step", trial, 1
        yield "result", trial, run(trial, load_task(name), data, optimizer_class(trial.optimizer))[0]


def made(losses, seeds=None):
    """A record of adam's runs with these losses: {storage: [of seed 0, of seed 1 …]}."""
    at = {"task": "mine", "optimizer": "adam", "lr": 0.01}
    runs = [
        {**at, "storage": storage, "seed": seed, "loss": loss, "metric": loss}
        for storage, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    chosen = {**at, "storage": "float32", "seed": 1000, "loss": 99.0, "metric": 99.0}
    return {"rates": {"mine": {"adam": 0.01}}, "runs": [*runs, chosen, {**runs[0], "lr": 0.1}]}


def test_differences_are_paired_and_the_spread_is_of_float32(convergence):
    record = made({"float32": [1.0, 1.2, 1.1], "bf16": [1.1, 1.2, 1.1], "int8": [1.5, 1.2, 1.2]})
    (row,) = record["summary"] = convergence.summary(record)
    wide, bf16, int8 = (row["storages"][s] for s in convergence.STORAGES)
    assert (wide["loss"]["mean"], wide["loss"]["sd"]) == (pytest.approx(1.1), pytest.approx(0.1))
    assert "difference" not in wide and wide["seeds"] == [0, 1, 2]
    assert (bf16["difference"]["mean"], bf16["difference"]["sd"]) == (
        pytest.approx(0.1 / 3),
        pytest.approx(0.1 / 3**0.5),
    )
    assert (bf16["within"], int8["within"], int8["spread"]) == (True, False, [1.0, 1.2])
    head, _, line = convergence.table(record).splitlines()
    assert line == "| mine | Adam | 0.01 | 1.1000 ± 0.1000 | +0.0333 ± 0.0577 | +0.2000 ± 0.2646 | yes / no (higher) |"
    assert head.count("|") == line.count("|")
    record = made({"float32": [1.0, 1.2], "int8": [0.9, 0.8]})
    assert convergence.table({"summary": convergence.summary(record)}).endswith("| – / no (lower) |")


def test_seeds_that_float32_lacks_are_in_no_pair(convergence):
    (row,) = convergence.summary(made({"float32": [1.0, 1.2], "bf16": [1.1, 1.2, 7.0]}))
    assert row["storages"]["bf16"]["difference"]["mean"] == pytest.approx(0.05) and row["storages"]["bf16"]["within"]


def test_what_diverged_is_told(convergence):
    record = made({"float32": [1.0, 1.2], "int8": [1.1, None]})
    (row,) = record["summary"] = convergence.summary(record)
    assert row["storages"]["int8"] == {"seeds": [0, 1], "diverged": 1, "loss": None, "metric": None}
    assert convergence.table(record).endswith("| 1.1000 ± 0.1414 | – | diverged | – / – |")


def test_it_goes_on_where_it_was(convergence, monkeypatch, tmp_path, capsys):
    out = tmp_path / "new" / "convergence.json"

    def go(*options):
        monkeypatch.setattr(sys, "argv", ["convergence.py", "--seeds", "2", "--storages", "float32", "--out", str(out)])
        assert convergence.main() == 0
        return json.loads(out.read_text()), capsys.readouterr().out

    whole, printed = go()
    assert [run["seed"] for run in whole["runs"]] == [1000, 1000, 0, 1] and printed.count(" seed ") == 4
    assert whole["rates"] == {"digits": {"adam": 1e-2}} and whole["tasks"]["digits"]["steps"] == 4
    assert {"command", "date", "commit", "machine", "protocol"} < whole.keys()

    assert go()[1].count(" seed ") == 0

    lost = whole["runs"][3]
    out.write_text(json.dumps({**whole, "runs": whole["runs"][:3]}))
    again, printed = go()
    assert printed.count(" seed ") == 1
    assert {**again["runs"][3], "seconds": 0} == {**lost, "seconds": 0}

    monkeypatch.setattr(convergence, "PARTS", {"digits": convergence.Part(train=256, valid=100, epochs=1)})
    other, printed = go()
    assert "4 runs were of another task" in printed and len(other["runs"]) == 4
    assert [p.name for p in out.parent.iterdir()] == ["convergence.json"]
