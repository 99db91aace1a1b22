"""`ravine compare --from`: what the statistics of a comparison say of runs that were made elsewhere."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from ravine.cli import answer

from ..errors import LabError
from ..logs.judge import Judged, judged
from ..logs.read import read
from ..logs.run import write
from ..report import terminal
from ..report.of_logs import behind, of_logs, value


def compare(path: Path, out: Path | None) -> None:
    """Judges the runs at `path` and prints what was found; writes a page of it, and the runs in the one form, into
    `out`, if that is said."""
    runs, said = read(path)
    if out is not None and out.resolve() in (path.resolve(), path.resolve().parent):
        raise LabError(f"--out {out}: the logs that are read lie there; choose another folder")
    if out is not None and (out / "trials.sqlite").exists():
        raise LabError(f"--out {out}: a comparison of ravine's and its report lie there; choose another folder")
    tasks, scores, unit = judged(runs)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            write(runs, out / "logs.csv")
            answer.write(out / "report.html", of_logs(path, tasks, scores, unit, said))
        except OSError as error:
            raise LabError(f"--out {out}: cannot be written: {error.strerror}") from error
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
    if out is not None:
        console.print(f"\nThe page of it: {out / 'report.html'}", soft_wrap=True)


def _show(task: Judged, unit: str, console: Console) -> None:
    best = task.rows[0].name
    what = f"{unit} by {best}" if task.given else f"{task.part} loss"
    table = Table("", Column("optimizer", no_wrap=True), what, *([] if task.given else ["behind"]), f"{unit} to target",
                  "miss", "n", box=None, pad_edge=False)  # fmt: skip
    for row in task.rows:
        values = [value(row, task.given), *([] if task.given else [behind(row)])]
        time = f"{row.time:,.0f}" if math.isfinite(row.time) else "–"
        table.add_row(row.letters, row.name, *values, time, f"{row.arrivals.missed:.0%}", str(row.judged))
    whose = "given" if task.given else "from these runs"
    goal = f"target {task.target:.4g}, {whose}" if math.isfinite(task.target) else "no target: the baseline diverged"
    console.print(f"{task.task}: {goal}", soft_wrap=True)
    console.print(table)
    console.print()
