"""A damaged folder of records is one line and exit status 2, or what can be read of it; never a traceback."""

import contextlib
import csv
import io
import json
import shutil
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ravine.cli import main
from ravine.cli.answer import Mistake
from ravine.lab.commands import one_task
from ravine.lab.protocol.records import Records
from ravine.lab.protocol.resume import settings_of
from ravine.lab.protocol.trial import Result, Trial

from .conftest import inline
from .garble import garble

TRIAL = Trial("few", "sgd", (("lr", 0.1),), seed=0, epochs=1, batch=8, content="new")


def answered(*arguments: str) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(list(arguments))
    assert status in (0, 2), (status, err.getvalue())
    assert err.getvalue().count("\n") == (status == 2), err.getvalue()
    assert err.getvalue().startswith("ravine: ") or not status
    assert len(err.getvalue()) < 2000
    return status, out.getvalue()


def read(folder: Path, seed: int, seen: Counter) -> None:
    """All that reads a folder, on a copy that is damaged; `seen` counts the answers."""
    how = garble(folder, seed)
    elsewhere = folder.parent / "elsewhere"
    try:
        for command in (
            ["compare", "--report", str(folder), "--out", str(elsewhere)],
            ["advise", "--from", str(folder)],
        ):
            status, said = answered(*command)
            seen[command[0], status] += 1
            if not status:
                assert "report.html" in said or " an epoch" in said
        try:
            settings_of(folder, {}, trust=True)
            seen["settings", 0] += 1
        except Mistake:
            seen["settings", 2] += 1
        try:
            with Records(folder) as records:
                assert all(isinstance(result, Result) for _, result in records)
                records.notes([TRIAL])
                records.add(TRIAL, Result(None, 0.1, [0], [1.0], [1.0], [1.0]))
                assert TRIAL in records and records[TRIAL].valid == [1.0]
            seen["records", 0] += 1
        except Mistake:
            seen["records", 2] += 1
    except BaseException as error:
        error.add_note(f"folder {how}")
        raise


def all_of(few: Path, tmp_path: Path, seeds: range) -> Counter:
    seen: Counter = Counter()
    (tmp_path / "elsewhere").mkdir()
    for seed in seeds:
        folder = tmp_path / str(seed)
        shutil.copytree(few / "kept", folder)
        read(folder, seed, seen)
    return seen


@pytest.mark.ci
def test_damaged_folders(few, tmp_path):
    seen = all_of(few, tmp_path, range(250))
    for what in ("compare", "advise", "settings", "records"):
        assert seen[what, 0] > 20 and seen[what, 2] > 20  # some are read, some are refused


def went_on(few: Path, folder: Path, seed: int, seen: Counter) -> None:
    """All that goes on in a damaged folder: asked again, or --resume; afterwards it is whole, and read as such."""
    shutil.copytree(few / "kept", folder / "kept")
    shutil.copy(few / "mine.py", folder / "mine.py")
    how = garble(folder / "kept", seed)
    few_points = ["--points", "2", "--seeds", "2", "--workers", "1"]
    again = ["compare", "--task", "mine:task", "--out", "kept", "--optimizers", "sgd,mine:Mine", *few_points]
    with pytest.MonkeyPatch.context() as patched, contextlib.chdir(folder):
        patched.setattr(one_task, "sweep", inline)
        patched.setattr(one_task.stopwatch.measure, "__defaults__", (0.0,))
        patched.setattr(sys, "path", [str(folder), *sys.path])
        try:
            first = again if seed % 2 else ["compare", "--resume", "kept", "--trust", "--workers", "1"]
            sys.modules.pop("mine", None)
            status, _ = answered(*first)
            seen["gone on", status] += 1
            status, said = answered("compare", "--report", "kept", "--export", "csv") if not status else (2, "")
            seen["then read", status] += 1
            if not status:
                assert "report.html" in said
                with Path("kept/trials.csv").open(newline="") as file:
                    rows = list(csv.DictReader(file))
                assert {row["optimizer"] for row in rows} >= {"sgd", "mine:Mine"} and len(rows) >= 12
        except BaseException as error:
            error.add_note(f"folder {how}")
            raise
        finally:
            sys.modules.pop("mine", None)


@pytest.mark.parametrize("seeds", [pytest.param(range(5000, 5012), marks=pytest.mark.ci, id="12"),
                                   pytest.param(range(5012, 5200), marks=pytest.mark.slow, id="188")])  # fmt: skip
def test_going_on_in_a_damaged_folder(few, tmp_path, seeds):
    seen: Counter = Counter()
    for seed in seeds:
        (tmp_path / str(seed)).mkdir()
        went_on(few, tmp_path / str(seed), seed, seen)
    assert seen["gone on", 0] > len(seeds) / 4 and seen["then read", 0] == seen["gone on", 0]


def test_a_trial_that_cannot_be_read_keeps_its_result(few, tmp_path):
    """The key says which trial it was; what it was is written again by whoever runs the comparison."""
    with Records(tmp_path) as records:
        result = Result(None, 0.1, [0], [1.0], [1.0], [1.0])
        records.add(TRIAL, result)
        for odd in ("{", '{"task": "few"}', json.dumps(asdict(replace(TRIAL, seed=1)))):
            records._do("update trials set trial = ?", odd)
            assert records.rows() == [] and records.results() == {TRIAL.key: result} and TRIAL in records
        records.mend([TRIAL, replace(TRIAL, seed=2)])
        assert list(records) == [(TRIAL, result)]


@pytest.mark.faults
def test_a_thousand_damaged_folders(few, tmp_path, capsys):
    seen = all_of(few, tmp_path, range(1000, 2000))
    with capsys.disabled():
        print(f"\n1,000 damaged folders: {dict(seen)}")
    assert sum(seen.values()) == 4000
