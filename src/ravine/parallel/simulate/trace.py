"""Recorded delays: a line for each step of each worker, as CSV or as JSON lines.

    worker,start,compute,send,stale
    0,0.0,0.101,0.004,0
    1,0.0,0.245,0.005,1

| column | |
|---|---|
| worker | its number, from 0 |
| start | seconds from the beginning of the record to the beginning of the step |
| compute | seconds of computing, until the push was sent |
| send | seconds from then until the reply was there: both ways, and the shard's work |
| stale | steps that the server made since what the push was computed at was read; -1 where nobody knows |

`stale` may be missing. In JSON lines every line is an object with these names. Lines may be in any order.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ravine.saved import finite, told, whole


@dataclass(frozen=True, slots=True)
class Row:
    """A step of a worker, in seconds."""

    worker: int
    start: float
    compute: float
    send: float
    stale: int = -1


NAMES = [x.name for x in fields(Row)]


class Trace(Sequence[Row]):
    """What was recorded, or what a simulation would have recorded.

    >>> from ravine.parallel.simulate import Trace
    >>> trace = Trace([(0, 0.0, 0.1, 0.01, 0), (1, 0.0, 0.3, 0.01, 1)])
    >>> trace.workers, trace.staleness
    (2, {0: 1, 1: 1})
    """

    def __init__(self, rows: Iterable[Row | Sequence[float]]):
        self.rows = sorted(
            (x if isinstance(x, Row) else row(dict(zip(NAMES, x, strict=False))) for x in rows),
            key=lambda x: (x.start, x.worker),
        )

    def __getitem__(self, i: Any) -> Any:
        return self.rows[i]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def workers(self) -> int:
        """How many there are."""
        return len({x.worker for x in self.rows})

    @property
    def seconds(self) -> float:
        """From the beginning of the record to the end of its last step."""
        return max((x.start + x.compute + x.send for x in self.rows), default=0.0)

    @property
    def staleness(self) -> dict[int, int]:
        """How many pushes were how stale."""
        return dict(sorted(Counter(x.stale for x in self.rows if x.stale >= 0).items()))

    @classmethod
    def read(cls, path: str | Path) -> Trace:
        """From a file: JSON lines where its name ends in .jsonl, else CSV. ValueError says which line is wrong."""
        with open(path, newline="", encoding="utf-8") as file:
            if Path(path).suffix == ".jsonl":
                lines = ((i, line) for i, line in enumerate(file, 1) if line.strip())
                given = ((i, parsed(path, i, line)) for i, line in lines)
            else:
                given = enumerate(csv.DictReader(file), 2)
            rows = list[Row]()
            for i, x in given:
                try:
                    rows.append(row(x))
                except ValueError as error:
                    raise ValueError(f"{path}, line {i}: {error}") from None
        if not rows:
            raise ValueError(f"{path} has no steps; a trace has lines of {', '.join(NAMES)}")
        return cls(rows)

    def write(self, path: str | Path) -> None:
        """Into a file: JSON lines where its name ends in .jsonl, else CSV."""
        with open(path, "w", newline="", encoding="utf-8") as file:
            if Path(path).suffix == ".jsonl":
                file.writelines(json.dumps(asdict(x)) + "\n" for x in self.rows)
            else:
                writer = csv.writer(file)
                writer.writerow(NAMES)
                writer.writerows([[getattr(x, name) for name in NAMES] for x in self.rows])

    @classmethod
    def from_delay_data(cls, path: str | Path, seconds: float = 1.0) -> Trace:
        """From a file of the public record of Wu et al. 2022, https://github.com/xuyangwu/Delay-data, PIAG_*.csv.

        It has a line for each iteration of the server, and for each of 8 workers how many iterations ago its latest
        gradient was computed: a number that grows by one with each line, and falls where a gradient arrives. It has
        no seconds; an iteration counts as `seconds`. A step begins d iterations before the line where a delay has
        fallen to d, and ends there, with nothing for the way. An arrival that leaves a delay where the line before
        would have it, one larger, cannot be seen. The files BCD_*.csv, which have one delay a line and say nothing of
        workers, raise ValueError.
        """
        try:
            with open(path, newline="", encoding="utf-8") as file:
                lines = [[int(float(x)) for x in line] for line in csv.reader(file) if line]
        except ValueError as error:
            raise ValueError(f"{path} is not a file of delays: {error}") from None
        if not lines or len(lines[0]) < 2 or any(len(x) != len(lines[0]) for x in lines):
            raise ValueError(f"{path}: lines must have a delay for each of several workers, as those of PIAG_*.csv")
        rows = [
            Row(worker, (k - d) * seconds, d * seconds, 0.0, d)
            for k in range(1, len(lines))
            for worker, d in enumerate(lines[k])
            if d <= lines[k - 1][worker] and 0 < d <= k
        ]
        if not rows:
            raise ValueError(f"{path}: no delay ever falls, so no gradient arrives")
        return cls(rows)


def parsed(path: str | Path, i: int, line: str) -> dict[str, Any]:
    """A line of JSON."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {i}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}, line {i} is {told(found)}; it must be an object with {', '.join(NAMES)}")
    return found  # pyright: ignore[reportUnknownVariableType]


def row(given: dict[str, Any]) -> Row:
    """A line as a Row, or a ValueError."""
    if missing := [x for x in NAMES[:4] if given.get(x) in (None, "")]:
        raise ValueError(f"there is no {missing[0]}; a step has {', '.join(NAMES)}")
    seconds = dict[str, float]()
    for name in NAMES[1:4]:
        seconds[name] = finite(name, number(name, given[name]), 0.0, 1e12, where="")
    stale = number("stale", -1 if given.get("stale") in (None, "") else given["stale"])
    if stale != int(stale) or stale < -1:
        raise ValueError(f"stale is {told(given['stale'])}; it must be a whole number, or -1")
    worker = number("worker", given["worker"])
    if worker != int(worker):
        raise ValueError(f"worker is {told(given['worker'])}; it must be a whole number")
    return Row(whole("worker", int(worker), where=""), stale=int(stale), **seconds)


def number(name: str, x: Any) -> float:
    """What a file has for a number, or a ValueError."""
    try:
        return float(x)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {told(x)}; it must be a number") from None
