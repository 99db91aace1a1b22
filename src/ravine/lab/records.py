"""What has been measured, in one SQLite file, a row a trial, written as soon as it is made."""

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from .errors import LabError
from .trial import Result, Trial

SCHEMA = """
create table if not exists trials (
    key text primary key, task text, optimizer text, lr real, seed integer, status text,
    trial text, result text, made text default current_timestamp
)
"""


class Records:
    """The results in a folder, by the key of their trial. One process writes at a time; the rest are told so.

    The write-ahead log makes each added result whole or absent, whenever the process is killed.
    """

    def __init__(self, folder: Path):
        self.path = folder / "trials.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._db = sqlite3.connect(self.path, isolation_level=None)
            try:
                self._db.execute("pragma journal_mode=wal")
                self._db.execute(SCHEMA)
            except sqlite3.Error:
                self.close()
                raise
        except OSError as error:
            raise LabError(f"--out {folder}: cannot be written: {error.strerror}") from error
        except sqlite3.DatabaseError as error:
            raise LabError(f"--out {folder}: {self.path.name} cannot be opened: {error}; "
                           "remove it or choose another --out") from error  # fmt: skip

    def __contains__(self, trial: Trial) -> bool:
        return self._do("select 1 from trials where key = ?", trial.key).fetchone() is not None

    def __getitem__(self, trial: Trial) -> Result:
        row = self._do("select result from trials where key = ?", trial.key).fetchone()
        return Result(**json.loads(row[0]))

    def __len__(self) -> int:
        return self._do("select count(*) from trials").fetchone()[0]

    def add(self, trial: Trial, result: Result) -> None:
        """Keeps a result; one that is there already stays."""
        status = "done" if result.diverged_at is None else "diverged"
        self._do(
            "insert or ignore into trials (key, task, optimizer, lr, seed, status, trial, result) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            trial.key, trial.task, trial.optimizer, trial.lr, trial.seed, status,
            json.dumps(asdict(trial)), json.dumps(asdict(result)),
        )  # fmt: skip

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:  # a full disk, a file that was taken away
            raise LabError(f"{self.path}: {error}; what was recorded before is kept, run the same command to go on "
                           "when there is room") from error  # fmt: skip

    def close(self) -> None:
        """Folds the log into the file and lets the next process in."""
        self._db.close()
        self._lock.close()

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _lock(folder: Path) -> sqlite3.Connection:
    """An empty SQLite file held locked: the lock that every system has, and drops when its process dies."""
    lock = sqlite3.connect(folder / "lock", isolation_level=None, timeout=0)
    try:
        lock.execute("begin exclusive")
    except sqlite3.OperationalError as error:
        lock.close()
        if "locked" not in str(error):
            raise
        raise LabError(
            f"--out {folder}: another ravine is working here; wait for it, or choose another --out"
        ) from None
    return lock
