"""The benchmark runs on small problems, and the page shows the record."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return import_module("hogwild")


@pytest.mark.ci
def test_it_leaves_a_record(benchmark, tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    cases = {"sparse, small": (300, 200, 5), "completion, small": (20, 10, 2, 50), "dense, small": (40, 6)}
    workers = {k: {"threads": 2, **x} if k[0] == "2" else x for k, x in benchmark.WORKERS.items()}
    for given in workers.values():
        given.pop("processes", None)
    monkeypatch.setattr(benchmark, "CASES", cases)
    monkeypatch.setattr(benchmark, "WORKERS", workers)
    monkeypatch.setattr(benchmark, "EPOCHS", 2)
    out = tmp_path / "hogwild.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks/hogwild.py", "--rounds", "1", "--out", str(out)])
    benchmark.main()
    rows = json.loads(out.read_text())["rows"]
    assert [row["model"] for row in rows] == list(cases)
    for row in rows:
        assert min(row["seconds"].values()) > 0 and all(x == x for x in row["losses"].values())
        one, *rest = row["losses"].values()
        assert all(abs(x - one) < 0.2 for x in rest)
    assert benchmark.table(rows).count("small") == 9


def test_the_page_shows_the_record(benchmark):
    found = json.loads((ROOT / "benchmarks" / "results" / "hogwild-cpu.json").read_text())
    rows = [row for row in found["rows"] if "reason" not in row]
    assert benchmark.table(rows) in (ROOT / "docs" / "hogwild.md").read_text(encoding="utf-8")
