"""`ravine compare --from`: what the statistics of a comparison say of runs that were made elsewhere."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from ..errors import LabError
from ..logs.judge import Judged, Row, judged
from ..logs.read import read
from ..logs.run import write
from ..protocol.arrivals import exp
from ..report import terminal


def compare(path: Path, out: Path | None) -> None:
    """Judges the runs at `path` and prints what was found; writes them into `out` in the one form, if that is said."""
    runs, said = read(path)
    if out is not None and out.resolve() in (path.resolve(), path.resolve().parent):
        raise LabError(f"--out {out}: the logs that are read lie there; choose another folder")
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            write(runs, out / "logs.csv")
        except OSError as error:
            raise LabError(f"--out {out}: cannot be written: {error.strerror}") from error
    tasks, scores, unit = judged(runs)
    console = Console(highlight=False, markup=False, emoji=False)
    for task in tasks:
        _show(task, unit, console)
    console.print(
        "Optimizers that share a letter cannot be told apart; ± and [ ] are intervals that hold for all of a task at "
        "once in 95 % of comparisons. A miss counts as the end of the longest run. n: searches, settings or seeds",
        style="dim",
        soft_wrap=True,
    )
    if scores:
        terminal.scores(scores, unit)
    for line in said:
        console.print(f"* {line}", style="dim", soft_wrap=True)


def _show(task: Judged, unit: str, console: Console) -> None:
    best = task.rows[0].name
    what = f"{unit} by {best}" if task.given else f"{task.part} loss"
    table = Table("", Column("optimizer", no_wrap=True), what, *([] if task.given else ["behind"]), f"{unit} to target",
                  "miss", "n", box=None, pad_edge=False)  # fmt: skip
    for row in task.rows:
        values = [_ratio(row)] if task.given else [f"{row.value:.4g}", _behind(row)]
        time = f"{row.time:,.0f}" if math.isfinite(row.time) else "–"
        table.add_row(row.letters, row.name, *values, time, f"{row.arrivals.missed:.0%}", str(row.judged))
    whose = "given" if task.given else "from these runs"
    goal = f"target {task.target:.4g}, {whose}" if math.isfinite(task.target) else "no target: the baseline diverged"
    console.print(f"{task.task}: {goal}", soft_wrap=True)
    console.print(table)
    console.print()


def _ratio(row: Row) -> str:
    if row.behind is None:
        return "1"
    return terminal.ratio(*map(exp, (row.behind.low, row.behind.mean, row.behind.high)))


def _behind(row: Row) -> str:
    if row.behind is None:
        return ""
    return (
        f"{row.behind.mean:.4g} ± {row.behind.half:.2g}" if math.isfinite(row.behind.half) else f"{row.behind.mean:.4g}"
    )
