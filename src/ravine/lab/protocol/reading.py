"""Records, read and never written: a folder may be damaged, come from a stranger, or lie on a disk that is read-only.

Nothing that a folder names is imported. What cannot be read in it is left out and counted; what can be read is kept.
"""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from ..errors import LabError
from .decode import Garbled, decoded, must
from .trial import Result, Trial, key_of

MOST = 2**28  # bytes in a value: a trial of a million evaluations has fewer
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A trial in the records."""

    key: str
    trial: Trial
    result: Result


class Reading:
    """The records of a folder that `ravine compare` wrote to."""

    def __init__(self, folder: Path):
        self.path = folder / "trials.sqlite"
        if not self.path.is_file():
            raise nothing(folder)
        if (odd := in_the_way(self.path)) is not None:
            raise LabError(f"{odd}: is no file of SQLite's; remove it")
        self.db, self._copy = _opened(self.path)
        try:
            checked(self.db)
        except (sqlite3.Error, Garbled) as error:
            self.close()
            raise LabError(f"{self.path}: cannot be read: {error}") from error

    def rows(self) -> Iterator[Row]:
        """The trials that can be read, oldest first."""
        return rows(self.db)

    def results(self) -> dict[str, Result]:
        """What was measured, by the key of its trial."""
        return results(self.db)

    def recalled(self, name: str) -> Any:
        """What was remembered under a name; None where nothing was."""
        try:
            return recalled(self.db, name)
        except (sqlite3.Error, Garbled) as error:
            raise LabError(f"{self.path}: cannot be read: {error}") from error

    def close(self) -> None:
        """The file is let go."""
        self.db.close()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def in_the_way(path: Path) -> Path | None:
    """A path that SQLite would open, here or beside it, that is not a regular file: a pipe would block, a link leads
    elsewhere."""
    beside = [path.with_name(f"{path.name}-{end}") for end in ("wal", "shm", "journal")]
    if path.exists() and not path.is_file():
        return path
    return next((x for x in beside if x.is_symlink() or (x.exists() and not x.is_file())), None)


def counted(n: int) -> str:
    """So many trials, in words."""
    return "1 trial" if n == 1 else f"{n} trials"


def nothing(folder: Path) -> LabError:
    """What to say where no records are."""
    return LabError(f"{folder}: there is no comparison: name a folder that ravine compare wrote to (its --out)")


def checked(db: sqlite3.Connection) -> None:
    """Reads text that is not UTF-8 too, takes no value that would fill the memory, and runs nothing that the file
    itself brings: its tables are tables, and the one trigger in it is ours."""
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST)
    db.text_factory = lambda text: text.decode("utf-8", "replace")
    for kind, name, sql in db.execute("select type, name, sql from sqlite_master").fetchall():
        plain = " ".join(str(sql).lower().split())
        ours = kind == "index" or ((kind, name) == ("trigger", "ended") and plain == ENDED)
        if not ours and (kind != "table" or not plain.startswith("create table ") or " as (" in plain):
            raise Garbled(f"it has a {kind} '{name}', which ravine does not make")


ENDED = "create trigger ended after insert on trials begin delete from leases where key = new.key; end"


def rows(db: sqlite3.Connection) -> Iterator[Row]:
    """Those that can be read; a file that is damaged ends where the damage is. A trial whose fields do not give its key
    is not what was run."""
    with suppress(sqlite3.Error):
        for key, trial, result in db.execute("select key, trial, result from trials order by rowid"):
            with suppress(Garbled):
                yield Row(decoded(str, key), trial_of(trial, key), result_of(result))


def results(db: sqlite3.Connection) -> dict[str, Result]:
    """Those that can be read, by their keys, which name a trial also where nothing else of it can be read."""
    out: dict[str, Result] = {}
    with suppress(sqlite3.Error):
        for key, result in db.execute("select key, result from trials order by rowid"):
            with suppress(Garbled):
                out[decoded(str, key)] = result_of(result)
    return out


def recalled(db: sqlite3.Connection, name: str) -> Any:
    """Of JSON that is damaged nothing."""
    row = db.execute("select value from meta where name = ?", (name,)).fetchone()
    return None if row is None else loaded(row[0])


def loaded(text: Any) -> Any:
    """The JSON in a field."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise Garbled("it is no JSON") from None


def trial_of(text: Any, key: Any) -> Trial:
    """A trial from its JSON, of which its key is the hash: also that of an older ravine, with fewer fields."""
    fields = loaded(text)
    trial = decoded(Trial, fields)
    must(key_of(fields) == key, "its key", "is that of another trial")
    return trial


def result_of(text: Any) -> Result:
    """A result from its JSON: lists of one length, and numbers unless it diverged."""
    r = decoded(Result, loaded(text))
    lengths = {len(r.step), len(r.train), len(r.valid), len(r.metric)}
    if len(lengths) > 1 or len(r.deviation) not in (0, len(r.step)):
        raise Garbled("its lists differ in length")
    if any(a >= b for a, b in pairwise(r.step)) or any(n < 0 for n in (*r.step, r.diverged_at or 0)):
        raise Garbled("its steps do not rise")
    if not isfinite(r.seconds) or not r.step:
        raise Garbled("nothing was measured")
    if r.diverged_at is None and not all(map(isfinite, (*r.train, *r.valid))):
        raise Garbled("it did not diverge, and has a loss that is not finite")
    return r


def _opened(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """The file, opened so that nothing is written beside it; and the folder of the copy, if it had to be copied."""
    log, shared = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))
    if log.is_file() and shared.is_file():  # whoever writes has both: SQLite makes none, and both agree on who reads
        with suppress(sqlite3.Error):  # on a disk that is read-only
            return _connected(path, "mode=ro"), None
    try:
        if not log.is_file() or not log.stat().st_size:
            return _connected(path, "mode=ro&immutable=1"), None
        copy = tempfile.mkdtemp(prefix="ravine-records-")
        try:
            shutil.copyfile(path, os.path.join(copy, path.name))
            shutil.copyfile(log, os.path.join(copy, log.name))
            return _connected(Path(copy) / path.name, "mode=ro"), copy
        except BaseException:
            shutil.rmtree(copy, ignore_errors=True)
            raise
    except sqlite3.Error as error:
        raise LabError(f"{path}: cannot be read: {error}") from error
    except OSError as error:
        raise LabError(f"{path}: cannot be read: {error.strerror}") from error


def _connected(path: Path, how: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    try:
        with closing(db.execute("select count(*) from sqlite_master")) as found:
            found.fetchone()
    except BaseException:
        db.close()
        raise
    return db
