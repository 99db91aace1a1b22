"""A damaged folder of records is one line and exit status 2, or what can be read of it; never a traceback."""

import io
import shutil
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from ravine.cli import main
from ravine.cli.answer import Mistake
from ravine.lab.protocol.records import Records
from ravine.lab.protocol.resume import settings_of
from ravine.lab.protocol.trial import Result, Trial

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


@pytest.mark.faults
def test_a_thousand_damaged_folders(few, tmp_path, capsys):
    seen = all_of(few, tmp_path, range(1000, 2000))
    with capsys.disabled():
        print(f"\n1,000 damaged folders: {dict(seen)}")
    assert sum(seen.values()) == 4000
