"""An earlier comparison is gone on with, or reported again, with the settings kept in its folder."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from ravine.lab.protocol.trial import key_of

from .conftest import compared
from .test_compare import table


@pytest.fixture
def unfinished(smoke, tmp_path):
    """A copy of the smoke run from which three trials are gone, and a lease is left."""
    folder = tmp_path / "here"
    folder.mkdir()
    shutil.copy(smoke[0] / "trials.sqlite", folder)
    with closing(sqlite3.connect(folder / "trials.sqlite", isolation_level=None)) as db:
        db.execute("insert into leases select key, 'process 7', '' from trials limit 1")
        db.execute("delete from trials where key in (select key from trials where seed < 1000 limit 3)")
        changed = "json_set(trial, '$.content', 'other')"
        other = key_of(json.loads(db.execute(f"select {changed} from trials limit 1").fetchone()[0]))
        db.execute(f"insert into trials select ?, task, optimizer, lr, seed, status, {changed}, result, made from "
                   "trials limit 1", (other,))  # fmt: skip
    return folder


def test_resume_runs_what_is_missing_with_the_settings_kept(smoke, unfinished, ravine_command, tmp_path):
    status, printed = ravine_command("compare", "--resume", "here", "--workers", "1", cwd=tmp_path)
    assert status == 0 and "85 of 88 trials are in the records already" in printed
    assert "1 trial was in flight when the last run stopped; it is run again" in printed
    assert "1 trial here is of other code, another task of this name or other versions" in printed
    keys = {row[0] for row in table(smoke[0])}
    assert [row for row in table(unfinished) if row[0] in keys] == table(smoke[0]) and len(table(unfinished)) == 89
    assert "ravine compare --tier smoke" in (unfinished / "report.html").read_text(encoding="utf-8")


def test_report_trains_nothing_and_says_what_is_missing(smoke, unfinished, ravine_command, tmp_path):
    before = table(unfinished)
    status, printed = ravine_command("compare", "--report", "here", cwd=tmp_path)
    assert status == 2
    assert "here: 3 trials are missing or cannot be read: ravine compare --resume here runs them" in printed
    assert table(unfinished) == before and not (unfinished / "report.html").exists()

    shutil.copy(smoke[0] / "trials.sqlite", unfinished)
    status, printed = ravine_command("compare", "--report", "here", cwd=tmp_path)
    assert status == 0 and "test loss" in printed
    assert (unfinished / "report.html").exists()


@pytest.mark.ci
def test_a_method_with_settings_is_no_code_of_somebody_s(ravine_command, tmp_path):
    compared(tmp_path, "--optimizers", "Adam,adam:eps=1e-4,nesterov", "--tier", "smoke", name="noisy-quadratic")
    status, printed = ravine_command("compare", "--resume", "kept", "--workers", "1", cwd=tmp_path)
    assert status == 0 and "trials are in the records already" in printed, printed
