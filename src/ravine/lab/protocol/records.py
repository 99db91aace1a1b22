"""What has been measured, in one SQLite file, a row a trial, written as soon as it is made."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import LabError
from .decode import Garbled
from .reading import Row, checked, counted, in_the_way, recalled, result_of, results, rows
from .trial import Result, Trial

SCHEMA = """
create table if not exists trials (
    key text primary key, task text, optimizer text, lr real, seed integer, status text,
    trial text, result text, made text default current_timestamp
);
create table if not exists leases (key text primary key, worker text, until text);
create table if not exists meta (name text primary key, value text);
create trigger if not exists ended after insert on trials begin delete from leases where key = new.key; end;
"""


class Records:
    """The results in a folder, by the key of their trial. One process writes at a time; the rest are told so.

    The write-ahead log makes each added result whole or absent, whenever the process is killed. A trial in flight has a
    lease, which goes in the transaction in which its result comes. Leases that a dead process left are cleared on
    opening, and counted in `interrupted`. (The time in them is for who looks in: the sweep goes by what it hears.)
    """

    def __init__(self, folder: Path):
        self.path = folder / "trials.sqlite"
        for path in (self.path, folder / "lock"):
            if (odd := in_the_way(path)) is not None:
                raise LabError(f"--out {folder}: {odd.name} there is no file; remove it or choose another --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            try:
                self._db = sqlite3.connect(self.path, isolation_level=None)
            except sqlite3.Error:
                self._lock.close()
                raise
            try:
                checked(self._db)
                self._db.execute("pragma journal_mode=wal")
                self._db.executescript(SCHEMA)
                self.interrupted = self._do("select count(*) from leases")[0][0]
                self._do("delete from leases")
            except (sqlite3.Error, LabError, Garbled):
                self.close()
                raise
        except OSError as error:
            raise LabError(f"--out {folder}: cannot be written: {error.strerror}") from error
        except (sqlite3.DatabaseError, Garbled) as error:
            raise LabError(f"--out {folder}: {self.path.name} cannot be opened: {error}; "
                           "remove it or choose another --out") from error  # fmt: skip

    def __contains__(self, trial: Trial) -> bool:
        return self._result(trial) is not None

    def __getitem__(self, trial: Trial) -> Result:
        if (found := self._result(trial)) is None:
            raise KeyError(trial)
        return found

    def _result(self, trial: Trial) -> Result | None:
        """None where there is none that can be read."""
        found = self._do("select result from trials where key = ?", trial.key)
        with suppress(Garbled):
            return result_of(found[0][0]) if found else None

    def __len__(self) -> int:
        return self._do("select count(*) from trials")[0][0]

    def __iter__(self) -> Iterator[tuple[Trial, Result]]:
        """All of them, oldest first; what is damaged, or of an older ravine in another form, is left out."""
        for row in self.rows():
            yield row.trial, row.result

    def rows(self) -> list[Row]:
        """The same with their keys."""
        return list(rows(self._db))

    def results(self) -> dict[str, Result]:
        """Those that can be read, by the key of their trial."""
        return results(self._db)

    def mend(self, trials: Iterable[Trial]) -> None:
        """Writes again what these trials were, where that cannot be read; their results stay."""
        kept = {row.key for row in self.rows()}
        for trial in trials:
            if trial.key not in kept:
                self._do("update trials set trial = ? where key = ?", json.dumps(asdict(trial)), trial.key)

    def add(self, trial: Trial, result: Result) -> None:
        """Keeps a result; one that is there already stays, unless it cannot be read."""
        status = "done" if result.diverged_at is None else "diverged"
        if trial in self:
            return
        self._do(
            "insert or replace into trials (key, task, optimizer, lr, seed, status, trial, result) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            trial.key, trial.task, trial.optimizer, trial.lr, trial.seed, status,
            json.dumps(asdict(trial)), json.dumps(asdict(result)),
        )  # fmt: skip

    def lease(self, trials: Iterable[Trial], worker: str, seconds: float) -> None:
        """These trials are in flight; the worker was heard of, and is to be heard of again within so many seconds."""
        for trial in trials:
            self._do("insert or replace into leases values (?, ?, datetime('now', ?))",
                     trial.key, worker, f"{seconds} seconds")  # fmt: skip

    def release(self, worker: str) -> None:
        """The worker has nothing in flight any more."""
        self._do("delete from leases where worker = ?", worker)

    def notes(self, trials: Iterable[Trial]) -> list[str]:
        """What a person should know before these trials are run; of those in flight once."""
        out = []
        if n := self.interrupted:
            self.interrupted = 0
            out.append(f"{counted(n)} {'was' if n == 1 else 'were'} in flight when the last run stopped; "
                       f"{'it is' if n == 1 else 'they are'} run again")  # fmt: skip
        if n := self._others(trials):
            out.append(f"{counted(n)} here {'is' if n == 1 else 'are'} of other code, another task of this name or "
                       f"other versions; {'it stays' if n == 1 else 'they stay'}, and {'is' if n == 1 else 'are'} not "
                       "used")  # fmt: skip
        return out

    def _others(self, trials: Iterable[Trial]) -> int:
        """How many recorded trials are one of these in all but `content`."""
        wanted = {_apart(asdict(trial)): trial.key for trial in trials}
        return sum(wanted.get(_apart(asdict(row.trial)), row.key) != row.key for row in self.rows())

    def remember(self, name: str, value: object) -> None:
        """Keeps a value beside the trials, as JSON; `recalled` gives it back."""
        self._do("insert or replace into meta values (?, ?)", name, json.dumps(value, default=str))

    def recalled(self, name: str) -> Any:
        """What `remember` kept; None where it kept nothing that can be read."""
        try:
            return recalled(self._db, name)
        except (sqlite3.Error, Garbled):
            return None

    def forget(self, name: str) -> None:
        """As if nothing had been remembered."""
        self._do("delete from meta where name = ?", name)

    def _do(self, statement: str, *values: object) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:  # a full disk, a file that was taken away
            raise LabError(f"{self.path}: {error}; what was recorded before is kept, run the same command to go on "
                           "when there is room") from error  # fmt: skip
        except sqlite3.Error as error:
            raise LabError(f"{self.path}: {error}; remove it or choose another --out") from error

    def close(self) -> None:
        """Folds the log into the file and lets the next process in."""
        self._db.close()
        self._lock.close()

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Known(Mapping[Trial, Result]):
    """The records, with what was read of them kept."""

    def __init__(self, records: Records):
        self.records, self.read = records, dict[Trial, Result]()

    def __contains__(self, trial: object) -> bool:
        if trial not in self.read and isinstance(trial, Trial):
            with suppress(KeyError):
                self.read[trial] = self.records[trial]
        return trial in self.read

    def __getitem__(self, trial: Trial) -> Result:
        if trial not in self:
            raise KeyError(trial)
        return self.read[trial]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.read)

    def __len__(self) -> int:
        return len(self.read)

    def add(self, trial: Trial, result: Result) -> None:
        """Records it first."""
        self.records.add(trial, result)
        self.read[trial] = result


def _apart(fields: dict[str, Any]) -> str:
    """A trial's fields without what is hashed in them."""
    return json.dumps({**fields, "content": "", "after": ""}, sort_keys=True)


def _lock(folder: Path) -> sqlite3.Connection:
    """An empty SQLite file held locked: the lock that every system has, and drops when its process dies."""
    path = folder / "lock"
    lock = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        lock.execute("begin exclusive")
    except sqlite3.Error as error:
        lock.close()
        if "locked" not in str(error):
            raise LabError(f"--out {folder}: {path.name} there cannot be used: {error}; remove it or choose another "
                           "--out") from error  # fmt: skip
        raise LabError(
            f"--out {folder}: another ravine is working here; wait for it, or choose another --out"
        ) from None
    return lock
