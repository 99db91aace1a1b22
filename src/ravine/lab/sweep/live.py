"""What the terminal shows while trials run: a live table; plain lines where there is no terminal."""

import math
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import rich.live
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..protocol.search import Entry
from ..protocol.trial import Result, Trial


class Live:
    """Follows a sweep of about `each` trials an optimizer, of `steps` steps each; `done` were there already."""

    def __init__(self, entries: Sequence[Entry], each: int, steps: int, done: Mapping[Trial, Result],
                 notes: Sequence[str] = (), quantity: str = "loss"):  # fmt: skip
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.entries, self.each, self.steps, self.done = entries, each, steps, dict(done)
        self.notes, self.quantity = notes, quantity
        self.running: dict[Trial, int] = {}
        self.said = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.completed:.0f} of {task.total} trials"), BarColumn(None), TimeRemainingColumn(),
            console=self.console,
        )  # fmt: skip
        self.bar_task = self.bar.add_task("", total=self.total, completed=len(done))
        self.screen = rich.live.Live(self._picture(), console=self.console, transient=True, refresh_per_second=4)

    @property
    def total(self) -> int:
        """Trials in all; a space that is widened adds some."""
        return max(self.each * len(self.entries), len(self.done) + len(self.running))

    def __enter__(self) -> "Live":
        if self.done:
            self._say(f"{len(self.done)} of {self.total} trials are in the records already")
        for note in self.notes:
            self._say(note)
        if self.console.is_terminal:
            self.screen.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.screen.stop()

    def show(self, kind: str, trial: Trial, value: Any) -> None:
        """A message of the sweep: a trial is at a step, has its result, fails, or lost its worker."""
        if kind == "result":
            self.done[trial] = value
            self.running.pop(trial, None)
        elif kind == "lost":
            self.running.pop(trial, None)
            self._say(f"a worker died ({value}): {trial.optimizer} at lr {trial.lr:g} is run again")
        elif kind == "failed":
            self.running.pop(trial, None)
            self._say(f"{trial.optimizer} at lr {trial.lr:g} fails: {value}")
        else:
            self.running[trial] = value
        if self.console.is_terminal:
            share = sum(self.running.values()) / self.steps
            self.bar.update(self.bar_task, total=self.total, completed=len(self.done) + share)
            self.screen.update(self._picture())
        elif time.monotonic() - self.said > 5:
            self.said = time.monotonic()
            self._say(f"{len(self.done)} of {self.total} trials")

    def _say(self, line: str) -> None:
        """A disk that has no room for this line is no reason to stop."""
        try:
            self.console.print(line, soft_wrap=True)
        except BrokenPipeError:
            raise
        except OSError:
            pass

    def _picture(self) -> Group:
        table = Table("optimizer", "trials", f"best {self.quantity} so far", "at lr", box=None, header_style="dim")
        for entry in self.entries:
            mine = {t: r for t, r in self.done.items() if t.optimizer == entry.name}
            trial, result = min(mine.items(), key=lambda item: item[1].final, default=(None, None))
            best = (
                (f"{result.final:.4f}", f"{trial.lr:g}")
                if trial and result and math.isfinite(result.final)
                else ("", "")
            )
            table.add_row(entry.label, f"{len(mine)}/{max(self.each, len(mine))}", *best)
        return Group(table, self.bar)
