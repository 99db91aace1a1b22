"""Reading a folder of records runs nothing that it names, needs no disk to write on, and keeps what can be read."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from ravine.cli import main
from ravine.lab.protocol.reading import Reading

from .conftest import compared


@pytest.fixture
def copied(few, tmp_path, monkeypatch):
    """A copy of the finished comparison, in the folder that the command is called in; its code is beside it."""
    shutil.copytree(few, tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "there"), *sys.path])
    yield tmp_path / "there"
    sys.modules.pop("mine", None)


def change(folder: Path, statement: str, *values) -> None:
    with closing(sqlite3.connect(folder / "kept" / "trials.sqlite", isolation_level=None)) as db:
        db.execute(statement, values)


@pytest.mark.parametrize(
    "command",
    [["compare", "--report", "kept"], ["compare", "--report", "kept", "--export", "csv"], ["advise", "--from", "kept"]],
    ids=" ".join,
)
def test_nothing_that_records_name_is_imported(copied, capsys, command):
    page = copied / "kept" / "report.html"
    before = page.read_bytes()
    assert main(command) == 0
    assert not (copied / "imported").exists() and "mine" not in sys.modules
    said = capsys.readouterr().out
    assert "SGD" in said and ("Mine" in said or command[0] == "advise")
    assert page.read_bytes() == before  # to the last digit of what was timed


def test_what_a_command_would_run_is_not_run(copied, capsys):
    """A folder from somebody else: settings that name os.system, with what it is to be called with."""
    bad = '{"command": "x", "in": "/", "settings": {"tasks": ["os:system"], "data": "touch imported"}}'
    change(copied, "update meta set value = ? where name = 'comparison'", bad)
    change(copied, "update trials set optimizer = 'mine:Mine', trial = json_set(trial, '$.optimizer', 'mine:Mine')")
    assert main(["compare", "--report", "kept", "--export", "csv"]) == 0
    assert main(["advise", "--from", "kept"]) == 0
    capsys.readouterr()
    assert main(["compare", "--resume", "kept"]) == 2
    assert "runs code that its records name; if that is yours, say --task os:system --data" in capsys.readouterr().err
    assert not (copied / "imported").exists() and "mine" not in sys.modules


def test_what_records_say_is_printed_and_not_obeyed(copied, capsys):
    """A label that colours the terminal, one that rich would take for markup, and equations that hold HTML."""
    bad = {
        "$.methods[0].card.label": "[/b]\x1b[31mred",
        "$.methods[0].card.equations": r"p &= \text{<script>alert(1)</script>}",
        "$.facts.command": "</pre><script>alert(2)</script>",
    }
    for path, value in bad.items():
        change(copied, "update meta set value = json_set(value, ?, ?) where name = 'found'", path, value)
    assert main(["compare", "--report", "kept"]) == 0
    out = capsys.readouterr().out
    assert "[/b]\ufffd[31mred" in out and "\x1b" not in out
    page = (copied / "kept" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page and "&lt;script&gt;alert(2)" in page


@pytest.mark.ci
def test_resuming_asks_what_it_runs(copied, capsys):
    for arguments, missing in (
        ([], "say --task mine:task --optimizers sgd,mine:Mine again, or --trust"),
        (["--task", "mine:task"], "say --optimizers sgd,mine:Mine again, or --trust"),
        (["--task", "mine:other"], "--task mine:other: the comparison in kept is another, of mine:task"),
        (["--seeds", "3"], "leave out --seeds"),
    ):
        assert main(["compare", "--resume", "kept", *arguments]) == 2
        assert missing in capsys.readouterr().err
    assert not (copied / "imported").exists()
    assert main(["compare", "--report", "kept", "--trust"]) == 2
    assert "--trust goes with --resume" in capsys.readouterr().err
    for arguments in (["--trust"], ["--task", "mine:task", "--optimizers", "sgd,mine:Mine"]):
        assert main(["compare", "--resume", "kept", *arguments, "--workers", "1"]) == 0
        assert (copied / "imported").exists() and "12 of 12 trials are in the records" in capsys.readouterr().out


def test_a_folder_of_an_older_ravine_says_what_to_do(copied, capsys):
    change(copied, "delete from meta where name = 'found'")
    for command in (["compare", "--report", "kept"], ["advise", "--from", "kept"]):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "ravine compare --resume kept finishes it" in err


def test_a_comparison_that_is_begun_again_has_found_nothing_yet(copied, monkeypatch):
    monkeypatch.setattr("ravine.lab.protocol.sparse.check", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["compare", "--task", "mine:task", "--out", "kept", "--seeds", "3", "--workers", "1"]) == 130
    with Reading(Path("kept")) as records:
        assert records.recalled("found") is None and len(list(records.rows())) == 12


def test_trials_that_cannot_be_read_are_run_again_and_the_rest_kept(copied, capsys):
    with closing(sqlite3.connect("kept/trials.sqlite")) as db:
        before = dict(db.execute("select key, result from trials").fetchall())
    change(copied, "update trials set result = '{\"step\": [0' where rowid in (3, 5)")
    assert main(["compare", "--report", "kept"]) == 2
    assert capsys.readouterr().err == (
        "ravine: kept: 2 trials are missing or cannot be read: ravine compare --resume kept runs them\n"
    )
    with redirect_stdout(StringIO()):
        compared(copied, "--optimizers", "sgd,mine:Mine")
    with closing(sqlite3.connect("kept/trials.sqlite")) as db:
        after = dict(db.execute("select key, result from trials").fetchall())
    assert after.keys() == before.keys()
    assert sum(after[key] == before[key] for key in before) == len(before) - 2  # what took so many seconds is as it was
    assert main(["compare", "--report", "kept"]) == 0


def logged(kept: Path, copy: Path, *left: str) -> None:
    """A copy of records with what a killed process has left beside them: its log, and what it shared with readers."""
    with closing(sqlite3.connect(kept / "trials.sqlite", isolation_level=None)) as db:
        db.execute("update trials set status = 'seen' where rowid = 1")
        shutil.copytree(kept, copy)
    for end in {"wal", "shm"} - {*left}:
        (copy / f"trials.sqlite-{end}").unlink()


@pytest.mark.parametrize("left", ["", "wal", "wal shm"])
def test_reading_leaves_nothing_in_the_folder(copied, left):
    logged(Path("kept"), Path("copy"), *left.split())
    Path("copy/report.html").unlink()
    before = {x.name: x.read_bytes() for x in Path("copy").iterdir() if x.suffix != ".sqlite-shm"}
    names = {x.name for x in Path("copy").iterdir()}
    with Reading(Path("copy")) as records:
        assert records.db.execute("select count(*) from trials where status = 'seen'").fetchone()[0] == bool(left)
    assert main(["advise", "--from", "copy"]) == 0 and main(["compare", "--resume", "copy"]) == 2
    assert {x.name for x in Path("copy").iterdir()} == names
    assert main(["compare", "--report", "copy"]) == 0
    assert {x.name for x in Path("copy").iterdir()} == names | {"report.html"}
    assert all(Path("copy", name).read_bytes() == content for name, content in before.items())


READER = """
import os
from pathlib import Path
from ravine.cli import main
from ravine.lab.protocol.reading import Reading
{first}
if os.getuid() == 0:  # whom no mode stops; the other user may not be able to read Python's own files, to import more
    os.setgroups([])
    os.setuid(65534)
"""
posix = pytest.mark.skipif(os.name != "posix", reason="a folder that its owner may not write to")


def read_only(folder: Path, code: str, first: str = "") -> None:
    """Runs this code on a folder that nobody may write to, as a user whom that stops; `first` imports what it needs."""
    for path in (Path("/").joinpath(*folder.parts[: i + 1]) for i in range(1, len(folder.parts) - 1)):
        if path.stat().st_uid == os.getuid():
            path.chmod(path.stat().st_mode | 0o055)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555)
    try:
        done = subprocess.run([sys.executable, "-c", READER.format(first=first) + code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        folder.chmod(0o755)


@pytest.mark.ci
@posix
@pytest.mark.parametrize("left", ["wal", *(pytest.param(x, marks=pytest.mark.slow) for x in ("", "wal shm"))])
def test_a_disk_that_is_read_only(copied, tmp_path, left):
    """As a user who may write nothing there; also where a killed process has left its log."""
    logged(Path("kept"), tmp_path / "copy", *left.split())
    read_only(
        tmp_path / "copy",
        f"""
with Reading(Path({str(tmp_path / "copy")!r})) as records:
    assert len(list(records.rows())) == 12 and records.recalled("found")
    seen = records.db.execute("select count(*) from trials where status = 'seen'").fetchone()[0]
    assert seen == {bool(left)}
""",
    )


@pytest.mark.ci
@posix
def test_a_report_goes_elsewhere_from_a_disk_that_is_read_only(copied, tmp_path):
    Path("elsewhere").mkdir()
    Path("elsewhere").chmod(0o777)
    Path("kept/report.html").unlink()
    before = {x.name for x in Path("kept").iterdir()}
    command = ["compare", "--report", "kept", "--export", "csv", "--out"]
    code = f"""
assert main({[*command, "kept"]}) == 2
assert main({[*command, "elsewhere"]}) == 0
"""
    read_only(tmp_path / "there" / "kept", code, f"main({[*command, 'first']})")
    assert {x.name for x in Path("elsewhere").iterdir()} == {
        "report.html",
        "trials.csv",
        "curves.csv",
        "verdict.csv",
        "verdict.tex",
    }
    assert {x.name for x in Path("kept").iterdir()} == before


def test_a_link_in_the_way_is_not_followed(copied):
    Path("victim").write_text("mine")
    for name in ("report.html", ".report.part.html", "trials.csv", ".trials.part.csv", "verdict.tex"):
        Path("kept", name).unlink(missing_ok=True)
        Path("kept", name).symlink_to("../victim")
    assert main(["compare", "--report", "kept", "--export", "csv"]) == 0
    assert Path("victim").read_text() == "mine" and not Path("kept/report.html").is_symlink()


@pytest.mark.parametrize(
    "statement",
    [
        "create trigger more after insert on trials begin delete from trials; end",
        "create view seen as with recursive n(i) as (select 1 union all select i + 1 from n) select i from n",
        "create table more (a text, b text generated always as (upper(a)))",
        "create virtual table more using rtree(id, a, b)",
    ],
)
def test_what_a_file_of_records_brings_itself_is_refused(copied, capsys, statement):
    change(copied, statement)
    for option in ("--report", "--resume"):
        assert main(["compare", option, "kept", *(["--trust"] if option == "--resume" else [])]) == 2
        assert "which ravine does not make" in capsys.readouterr().err
