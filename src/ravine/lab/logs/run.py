"""One form for the logs of others: a run, and the CSV that holds runs, a row for each evaluation."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ravine.cli.answer import replacing

from ..errors import LabError
from ..protocol.decode import CONTROL
from ..protocol.evaluation import bounded

NEEDED = ("task", "optimizer", "step", "valid")
COLUMNS = ("task", "optimizer", "setting", "seed", "step", "seconds", "valid", "test", "target")
MOST = 2**28  # bytes in a file
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """A run, with a number for each of its evaluations."""

    task: str
    optimizer: str
    setting: str  # names it; runs of one setting differ by their seeds
    seed: str
    step: Numbers
    valid: Numbers  # lower is better
    seconds: Numbers = ()  # since the start; none where they are not known
    test: float | None = None  # at the end, on data that nothing was chosen on
    target: float | None = None  # of `valid`, set before the runs
    shut: bool = False  # the benchmark's rules count it as a miss, whatever its losses

    @property
    def diverged(self) -> bool:
        """Whether any evaluation gave no finite number."""
        return not all(map(math.isfinite, self.valid))

    @property
    def final(self) -> float:
        """What it ends with; infinite where it diverged."""
        return math.inf if self.diverged else self.valid[-1]

    def until(self, target: float) -> "Run":
        """The run up to the first evaluation that reaches the target: what comes after does not count. All of it, where
        none does. At the start it has arrived by the next evaluation."""
        end = next((i + 1 for i, loss in enumerate(self.valid) if loss <= target), len(self.valid))
        if end == 1 < len(self.step) and not (self.seconds or self.step)[0]:
            return replace(self, step=self.step[1:2], valid=self.valid[:1], seconds=self.seconds[1:2])
        return replace(self, step=self.step[:end], valid=self.valid[:end], seconds=self.seconds[:end])


def wrong(path: Path, line: int | None, why: str) -> LabError:
    """What to say of a file that cannot be what it should."""
    return LabError(f"{path}{f', line {line}' if line else ''}: {why}")


def name(text: str) -> str:
    """What is called so, without what a terminal would obey."""
    return CONTROL.sub("\ufffd", text.strip())


def contents(path: Path) -> str:
    """A file as text; what is no UTF-8 in it is replaced."""
    try:
        if path.stat().st_size > MOST:
            raise wrong(path, None, f"larger than {MOST >> 20} MiB: split it")
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise wrong(path, None, f"cannot be read: {error.strerror}") from error


def table(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV by their columns, each with the number of its line."""
    reader = csv.reader(io.StringIO(contents(path), newline=""))
    try:
        names = next(reader, [])
        if missing := [column for column in needed if column not in names]:
            raise wrong(path, 1, f"there is no column {missing[0]}; the first line must name {', '.join(needed)}")
        for cells in reader:
            if len(cells) not in (0, len(names)):
                raise wrong(path, reader.line_num, f"{len(cells)} fields, where the first line names {len(names)}")
            if cells:
                yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise wrong(path, reader.line_num, f"this is no CSV: {error}") from error


def number(text: str, path: Path, line: int, column: str) -> float:
    """A number in a field; nan is one, and what is too large to reckon with is infinite."""
    try:
        return bounded(float(text))
    except ValueError:
        raise wrong(path, line, f"{column} is {text!r:.40}, which is no number") from None


def of_csv(path: Path) -> list[Run]:
    """The runs of a file in this form."""
    found: dict[tuple[str, str, str, str], Rows] = {}
    for line, row in table(path, NEEDED):
        if odd := [column for column in row if column not in COLUMNS]:
            raise wrong(path, 1, f"unknown column {odd[0]!r:.40}; there are {', '.join(COLUMNS)}")
        task, optimizer, setting, seed = (name(row.get(column, "")) for column in COLUMNS[:4])
        if not (task and optimizer):
            raise wrong(path, line, "task and optimizer must be named")
        said = {column: text for column in COLUMNS[4:] if (text := row.get(column, "").strip())}
        read = {column: number(text, path, line, column) for column, text in said.items()}
        for column in ("step", "valid"):
            if column not in read:
                raise wrong(path, line, f"{column} is empty; a loss that is not finite is written as nan")
        found.setdefault((task, optimizer, setting, seed), Rows([], [], [])).add(read, path, line)
    return [Run(*key, tuple(r.step), tuple(r.valid), tuple(r.seconds), r.test, r.target) for key, r in found.items()]


@dataclass
class Rows:
    """Those of one run."""

    step: list[float]
    valid: list[float]
    seconds: list[float]
    test: float | None = None
    target: float | None = None

    def add(self, read: dict[str, float], path: Path, line: int) -> None:
        """One evaluation more."""
        _checked(self, read, path, line)
        self.step.append(read["step"])
        self.valid.append(read["valid"])
        if "seconds" in read:
            self.seconds.append(read["seconds"])
        self.test, self.target = read.get("test"), read.get("target", self.target)


def _checked(run: Rows, read: dict[str, float], path: Path, line: int) -> None:
    """Raises where a row cannot be the next."""
    for column, before in (("step", run.step), ("seconds", run.seconds)):
        now = read.get(column, 0.0)
        if not 0 <= now < math.inf:
            raise wrong(path, line, f"{column} is {now:g}: it must be a number from 0")
        if column in read and before and now <= before[-1]:
            raise wrong(path, line, f"{column} is {now:g} after {before[-1]:g}: they must rise within a run")
    if not math.isfinite(read.get("target", 0.0)):
        raise wrong(path, line, f"target is {read['target']:g}: it must be a finite number")
    if run.step and ("seconds" in read) != bool(run.seconds):
        raise wrong(path, line, "seconds must be there in all rows of a run, or in none")


def write(runs: Iterable[Run], path: Path) -> None:
    """Writes runs in this form: numbers as Python writes them, which is exact."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for r in runs:
            for i, (step, valid) in enumerate(zip(r.step, r.valid, strict=True)):
                last = i == len(r.step) - 1
                row = (step, r.seconds[i] if r.seconds else "", valid, r.test if last else "", r.target)
                writer.writerow((r.task, r.optimizer, r.setting, r.seed, *("" if x is None else x for x in row)))
