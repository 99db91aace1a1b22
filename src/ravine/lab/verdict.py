"""From results to a ranking in words: who leads, and who cannot be told from the leader at this number of seeds."""

import math
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit

from .search import Entry
from .trial import Result


@dataclass(frozen=True)
class Cell:
    """An optimizer at one learning rate: a result for each seed."""

    lr: float
    results: tuple[Result, ...]

    @property
    def score(self) -> float:
        """Mean final validation loss over the seeds; infinite if one diverged."""
        return fmean(r.final for r in self.results)

    @property
    def spread(self) -> float:
        """Standard deviation of the final validation loss over the seeds; nan where there is none."""
        return _stdev([r.final for r in self.results])

    @property
    def metric(self) -> tuple[float, float]:
        """Mean and standard deviation of the final metric."""
        values = [r.metric[-1] for r in self.results]
        return fmean(values), _stdev(values)

    @property
    def diverged(self) -> int:
        """How many of the seeds diverged."""
        return sum(r.diverged_at is not None for r in self.results)


@dataclass(frozen=True)
class Row:
    """An optimizer in the ranking: its best learning rate among all it was tried at."""

    entry: Entry
    cells: tuple[Cell, ...]
    best: Cell
    behind: bool  # the leader is better by more than seeds explain

    @property
    def name(self) -> str:
        """What the optimizer is called."""
        return self.entry.label

    @property
    def at_edge(self) -> str:
        """Which end of the grid the best rate lies at: a better one may lie beyond."""
        if len(self.cells) < 3 or not math.isfinite(self.best.score):
            return ""
        lrs = [cell.lr for cell in self.cells]
        return {min(lrs): "lowest", max(lrs): "highest"}.get(self.best.lr, "")


def rank(table: list[tuple[Entry, list[Cell]]]) -> list[Row]:
    """The optimizers by their best cell, lowest validation loss first."""
    best = [min(cells, key=lambda cell: cell.score) for _, cells in table]
    leader = min(best, key=lambda cell: cell.score)
    rows = [
        Row(entry, tuple(cells), cell, distinct(leader, cell)) for (entry, cells), cell in zip(table, best, strict=True)
    ]
    return sorted(rows, key=lambda row: row.best.score)


def distinct(better: Cell, worse: Cell) -> bool:
    """Whether the two means differ by more than seeds explain: outside the 95 % t-interval, unpaired."""
    if math.isinf(worse.score):
        return math.isfinite(better.score)
    return worse.score - better.score > detectable(better, worse)


def detectable(a: Cell, b: Cell) -> float:
    """The smallest difference of means that these spreads let one see (95 %); infinite with one seed."""
    n = len(a.results)
    if n < 2:
        return math.inf
    return float(stdtrit(2 * n - 2, 0.975)) * math.sqrt((a.spread**2 + b.spread**2) / n)


def words(rows: list[Row]) -> str:
    """The verdict, a sentence or two."""
    seeds = len(rows[0].best.results)
    rows, lost = [r for r in rows if math.isfinite(r.best.score)], [r for r in rows if math.isinf(r.best.score)]
    if not rows:
        return "Every trial diverged: all learning rates tried are too high for this task."
    level, behind = [row for row in rows[1:] if not row.behind], [row for row in rows if row.behind]
    if len(rows) == 1:
        text = f"{rows[0].name} reaches a validation loss of {rows[0].best.score:.3g}."
    elif seeds == 1:
        text = f"{rows[0].name} has the lowest loss, but one seed cannot tell skill from luck: run more."
    elif not level:
        text = f"{rows[0].name} is ahead."
    elif not behind:
        text = f"{rows[0].name} has the lowest loss, but with {seeds} seeds none of the others can be told from it."
    else:
        text = f"{rows[0].name} has the lowest loss; {_list(level)} cannot be told from it with {seeds} seeds."
    if behind:
        text += f" {_list(behind)} {'is' if len(behind) == 1 else 'are'} behind."
    if lost:
        text += f" {_list(lost)} diverged at every learning rate."
    return text


def _stdev(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan


def _list(rows: list[Row]) -> str:
    names = [row.name for row in rows]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
