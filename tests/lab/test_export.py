"""`ravine compare --export`: every trial in the records a row, its curve in long form."""

import csv
import math
import sqlite3
import sys

import pytest

from ravine.lab import LabError
from ravine.lab.protocol.records import Records
from ravine.lab.protocol.study import SELECTION
from ravine.lab.protocol.trial import Result, Trial
from ravine.lab.report import export

POINTS = {"step": [0, 5, 10], "train": [2.3, 1.1, 0.7], "valid": [2.2, 1.0, 0.1 + 0.2], "metric": [0.1, 0.6, 0.9]}
ADAM = (("lr", 0.02), ("betas", (0.9, 0.99)))


def trial(optimizer="adam", hyper=ADAM, seed=0):
    return Trial("digits", optimizer, hyper, seed, 2, 32, "c" * 64, schedule="cosine")


TRIALS = {
    trial(seed=SELECTION): Result(seconds=1.5, **POINTS),
    trial(): Result(seconds=1.5, test=0.4, test_metric=0.8, **POINTS),
    trial("sgd", (("lr", 1e-3),)): Result(diverged_at=10, **{**POINTS, "valid": [2.2, 9.0, math.nan]}),
    trial("nag", (("lr", 0.1), ("momentum", 0.95), ("nesterov", True))): Result(**POINTS),
}


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_trial_and_a_line_for_each_point(tmp_path):
    with Records(tmp_path) as records:
        for one, result in TRIALS.items():
            records.add(one, result)
        found = export.export(records, "accuracy", tmp_path, "csv", {})
    assert found == (tmp_path / "trials.csv", tmp_path / "curves.csv")
    rows, curves = map(read, found)
    assert [row["key"] for row in rows] == [one.key for one in TRIALS]
    assert [row["stage"] for row in rows] == ["search", "confirm", "defaults", "confirm"]
    assert [row["seed"] for row in rows] == [str(SELECTION), "0", "0", "0"]
    assert [(row["lr"], row["beta1"], row["beta2"], row["momentum"]) for row in rows] == [
        ("0.02", "0.9", "0.99", ""), ("0.02", "0.9", "0.99", ""), ("0.001", "", "", ""), ("0.1", "", "", "0.95"),
    ]  # fmt: skip
    assert float(rows[0]["final"]) == 0.1 + 0.2  # to the last digit
    assert (rows[1]["test"], rows[1]["test_accuracy"], rows[0]["test"]) == ("0.4", "0.8", "")
    assert (rows[2]["final"], rows[2]["diverged_at"], rows[0]["diverged_at"]) == ("", "10", "")
    assert (rows[0]["task"], rows[0]["epochs"], rows[0]["batch"], rows[0]["schedule"]) == (
        "digits",
        "2",
        "32",
        "cosine",
    )
    assert list(rows[0])[:3] == ["key", "task", "optimizer"]
    assert len(curves) == 12 and curves[4] == {
        "key": trial().key, "step": "5", "train": "1.1", "valid": "1.0", "accuracy": "0.6"
    }  # fmt: skip


def test_parquet_has_the_same(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs the extra: pip install ".[parquet]"')
    trials, curves = export.export(TRIALS.items(), "accuracy", tmp_path, "parquet", {})
    table = parquet.read_table(trials)
    expected = [export.row(one, result, "accuracy", {}) for one, result in TRIALS.items()]
    assert table.to_pylist() == [{name: row.get(name) for name in table.column_names} for row in expected]
    assert parquet.read_table(curves).column("valid").to_pylist()[:3] == POINTS["valid"]


def test_without_a_metric_there_is_no_column_of_it(tmp_path):
    trials, curves = export.export(TRIALS.items(), None, tmp_path, "csv", {})
    assert not [name for name in read(trials)[0] if "None" in name or "test_" in name]
    assert list(read(curves)[0]) == ["key", "step", "train", "valid"]


def test_what_an_older_version_wrote_is_left_out(tmp_path):
    with Records(tmp_path) as records:
        for one, result in TRIALS.items():
            records.add(one, result)
    with sqlite3.connect(tmp_path / "trials.sqlite") as db:
        db.execute("""update trials set trial = json_set(trial, '$.gone', 1) where optimizer = 'nag'""")
    db.close()
    with Records(tmp_path) as records:
        assert [one for one, _ in records] == list(TRIALS)[:3]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "trials.csv").mkdir()
    with pytest.raises(LabError, match=r"--export: .*trials.csv cannot be written: Is a directory"):
        export.export(TRIALS.items(), None, tmp_path, "csv", {})


def test_somebodys_class_that_is_gone_is_no_error():
    assert export.stage(trial("nowhere:Mine", (("lr", 1.0),)), {}) == "confirm"


def test_without_the_extra_it_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LabError, match=r'--export parquet needs pyarrow: pip install ".\[parquet\]"'):
        export.ready("parquet")
    export.ready("csv")
