"""What the terminal shows: a live table while trials run (plain lines where there is no terminal), then the verdict."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.live
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .search import Entry
from .stopwatch import StepTime
from .tasks import Task
from .trial import Result, Trial
from .verdict import Row, words


class Live:
    """Follows a sweep of `trials`, each of `steps` steps, of which `done` were there already."""

    def __init__(self, entries: list[Entry], trials: list[Trial], steps: int, done: Mapping[Trial, Result]):
        self.console = Console(highlight=False)
        self.entries, self.trials, self.steps, self.done = entries, trials, steps, dict(done)
        self.running: dict[Trial, int] = {}
        self.said = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.completed:.0f} of {task.total} trials"), BarColumn(None), TimeRemainingColumn(),
            console=self.console,
        )  # fmt: skip
        self.bar_task = self.bar.add_task("", total=len(trials), completed=len(done))
        self.screen = rich.live.Live(self._picture(), console=self.console, transient=True, refresh_per_second=4)

    def __enter__(self) -> "Live":
        if self.done:
            self.console.print(f"{len(self.done)} of {len(self.trials)} trials are in the records already")
        if self.console.is_terminal:
            self.screen.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.screen.stop()

    def show(self, kind: str, trial: Trial, value: Any) -> None:
        """A message of the sweep: a trial is at a step, has its result, or lost its worker."""
        if kind == "result":
            self.done[trial] = value
            self.running.pop(trial, None)
        elif kind == "lost":
            self.running.pop(trial, None)
            self.console.print(f"a worker died ({value}): {trial.optimizer} at lr {trial.lr:g} is run again")
        else:
            self.running[trial] = value
        if self.console.is_terminal:
            share = sum(self.running.values()) / self.steps
            self.bar.update(self.bar_task, completed=len(self.done) + share)
            self.screen.update(self._picture())
        elif time.monotonic() - self.said > 5:
            self.said = time.monotonic()
            print(f"{len(self.done)} of {len(self.trials)} trials", flush=True)

    def _picture(self) -> Group:
        table = Table("optimizer", "trials", "best loss so far", "at lr", box=None, header_style="dim")
        for entry in self.entries:
            mine = {t: r for t, r in self.done.items() if t.optimizer == entry.name}
            total = sum(t.optimizer == entry.name for t in self.trials)
            trial, result = min(mine.items(), key=lambda item: item[1].final, default=(None, None))
            best = (
                (f"{result.final:.4f}", f"{trial.lr:g}")
                if trial and result and math.isfinite(result.final)
                else ("", "")
            )
            table.add_row(entry.label, f"{len(mine)}/{total}", *best)
        return Group(table, self.bar)

    def verdict(self, rows: list[Row], times: list[StepTime], task: Task, page: Path) -> None:
        """The ranking as a table, in words, and where the report is."""
        metric = [f"{task.metric_name}"] if task.metric else []
        table = Table(
            "optimizer", "validation loss", *metric, "best lr", "ms/step", "diverged", box=None, pad_edge=False
        )
        for row, ms in zip(rows, times, strict=True):
            cell = row.best
            trials = sum(len(c.results) for c in row.cells)
            table.add_row(
                row.name, spread(cell.score, cell.spread),
                *([spread(*cell.metric)] if task.metric else []), f"{cell.lr:g}{'*' if row.at_edge else ''}",
                f"{ms.whole:.2f}", f"{sum(c.diverged for c in row.cells)}/{trials}",
            )  # fmt: skip
        self.console.print(table)
        if any(row.at_edge for row in rows):
            self.console.print("* at the edge of the rates tried: a better one may lie beyond", style="dim")
        self.console.print(f"\n{words(rows)}\n\n{page}", soft_wrap=True)


def spread(mean: float, deviation: float) -> str:
    """A mean and its standard deviation over seeds."""
    if not math.isfinite(mean):
        return "diverged"
    return f"{mean:.4f}" if math.isnan(deviation) else f"{mean:.4f} ± {deviation:.4f}"
