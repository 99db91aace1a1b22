"""Records come back as they were, and belong to one process at a time."""

import json
import math
import sqlite3
from contextlib import closing
from dataclasses import asdict, replace

import pytest

from ravine.lab.errors import LabError
from ravine.lab.protocol.reading import Reading
from ravine.lab.protocol.records import Records
from ravine.lab.protocol.trial import Result, Trial, key_of

TRIAL = Trial("line", "sgd", (("lr", 0.1), ("eps", 1e-7)), seed=0, epochs=5, batch=8, content="")
RESULT = Result(None, 0.1, [0, 1], [1 / 3, 0.1], [2.0, 1e-300], [0.5, 0.25])


def test_what_is_added_is_there_after_reopening(tmp_path):
    with Records(tmp_path / "new" / "folder") as records:
        assert TRIAL not in records
        records.add(TRIAL, RESULT)
        records.add(TRIAL, Result(diverged_at=3))  # the first measurement stays
    with Records(tmp_path / "new" / "folder") as records:
        assert TRIAL in records and records[TRIAL] == RESULT and len(records) == 1


def test_nan_and_infinity_survive(tmp_path):
    with Records(tmp_path) as records:
        records.add(TRIAL, Result(1, 0.1, [0, 1], [1.0, math.inf], [1.0, math.nan], [0, 0]))
        assert records[TRIAL].train[1] == math.inf and math.isnan(records[TRIAL].valid[1])
        assert records[TRIAL].final == math.inf


def test_the_second_is_told(tmp_path):
    with Records(tmp_path), pytest.raises(LabError, match="another ravine is working here"):
        Records(tmp_path)
    Records(tmp_path).close()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "trials.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(LabError, match=r"trials\.sqlite cannot be opened: file is not a database; remove it"):
        Records(tmp_path)


def test_a_full_disk(tmp_path):
    with Records(tmp_path) as records:
        records._db.execute("pragma max_page_count = 1")
        with pytest.raises(
            LabError, match=r"trials\.sqlite: database or disk is full; what was recorded before is kept"
        ):
            records.add(TRIAL, Result(train=[0.5] * 10_000))
        assert len(records) == 0


def test_a_full_disk_on_opening_is_no_reason_to_remove_anything(tmp_path, monkeypatch):
    def full(self, statement, *values):
        raise LabError("database or disk is full")

    with Records(tmp_path) as records:
        records.add(TRIAL, RESULT)
    with monkeypatch.context() as patched:
        patched.setattr(Records, "_do", full)
        with pytest.raises(LabError, match=r"^database or disk is full$"):
            Records(tmp_path)
    with Records(tmp_path) as records:
        assert TRIAL in records


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"--out .*file/below: cannot be written: Not a directory"):
        Records(tmp_path / "file" / "below")


def leases(folder):
    with closing(sqlite3.connect(folder / "trials.sqlite")) as db:
        return db.execute("select key, worker from leases").fetchall()


def test_a_lease_goes_when_the_result_comes(tmp_path):
    other = replace(TRIAL, seed=1)
    with Records(tmp_path) as records:
        records.lease([TRIAL, other], "process 7", 60)
        assert leases(tmp_path) == [(TRIAL.key, "process 7"), (other.key, "process 7")]
        records.add(TRIAL, RESULT)
        assert leases(tmp_path) == [(other.key, "process 7")]
        records.release("process 8")
        assert leases(tmp_path) == [(other.key, "process 7")]
        records.release("process 7")
        assert leases(tmp_path) == []


def test_leases_of_the_dead_are_cleared_and_counted(tmp_path):
    with Records(tmp_path) as records:
        records.lease([TRIAL, replace(TRIAL, seed=1)], "process 7", 60)
    with Records(tmp_path) as records:
        assert leases(tmp_path) == []
        assert records.notes([]) == ["2 trials were in flight when the last run stopped; they are run again"]
    with Records(tmp_path) as records:
        assert records.notes([]) == []


def test_trials_of_other_code_are_counted(tmp_path):
    """The same in all but `content`, also as an older ravine wrote them, with fewer fields."""
    with Records(tmp_path) as records:
        for trial in (TRIAL, replace(TRIAL, content="older"), replace(TRIAL, content="older", seed=1)):
            records.add(trial, RESULT)
        for row in records.rows():  # older ones had fewer fields, of which their keys were made
            older = {k: x for k, x in asdict(row.trial).items() if k not in ("precision", "schedule")}
            if row.trial.content:
                values = (json.dumps(older), key_of(older), row.key)
                records._db.execute("update trials set trial = ?, key = ? where key = ?", values)
        assert records.notes([TRIAL]) == [
            "1 trial here is of other code, another task of this name or other versions; it stays, and is not used"
        ]
        assert records.notes([TRIAL, replace(TRIAL, seed=1)]) == [
            "2 trials here are of other code, another task of this name or other versions; they stay, and are not used"
        ]
        assert records.notes([replace(TRIAL, precision="bf16")]) == []


def test_what_is_remembered_is_recalled(tmp_path):
    with Records(tmp_path) as records:
        records.lease([TRIAL], "process 7", 60)
        records.remember("comparison", {"out": tmp_path, "seeds": 3})
    with Reading(tmp_path) as records:
        assert records.recalled("comparison") == {"out": str(tmp_path), "seeds": 3}
    assert leases(tmp_path) == [(TRIAL.key, "process 7")]
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(LabError, match="there is no comparison: name a folder that ravine compare wrote to"):
            Reading(folder)
    assert not (tmp_path / "nowhere").exists() and not list((tmp_path / "empty").iterdir())
