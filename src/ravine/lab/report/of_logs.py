"""The page of `ravine compare --from`: what was found of runs that were made elsewhere."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ravine import visuals
from ravine.visuals import Ink
from ravine.visuals.figure import Figure

from ..logs.judge import Judged, Row
from ..logs.run import name
from ..protocol.arrivals import exp
from ..protocol.score import Scores
from . import terminal
from .exhibits import TITLES, lit, profile
from .page import rendered


def of_logs(path: Path, tasks: Sequence[Judged], scores: Scores | None, unit: str, said: Sequence[str]) -> str:
    """The HTML: a table and the curves of each task, and what is found over all of them."""
    called = name(path.resolve().name.encode("utf-8", "replace").decode())
    names = sorted({row.name for task in tasks for row in task.rows})
    ink = {who: visuals.ink(i) for i, who in enumerate(names)}
    figures, titles = dict[str, Figure](), dict(TITLES)
    for i, task in enumerate(tasks):
        if figure := _curves(task, ink, unit):
            figures[f"task-{i}"], titles[f"task-{i}"] = figure, f"Curves on {task.task}"
    if scores:
        times = {task.task: {row.name: row.time for row in task.rows} for task in tasks}
        figures["profile"] = profile(times, ink)
    return rendered(
        "of_logs.html", figures, {}, path=called, tasks=tasks, scores=scores, unit=unit, said=said, titles=titles,
        rows=[{"name": who, "ink": ink[who]} for who in names], first=first(tasks, scores), ink=ink,
        infinity=math.inf, value=value, behind=behind,
    )  # fmt: skip


def first(tasks: Sequence[Judged], scores: Scores | None) -> str:
    """What was found, in a sentence."""
    if scores:
        most = scores.standings[0].score
        who = " and ".join(s.name for s in scores.standings if s.score == most)
        has = "have" if " and " in who else "has"
        return (
            f"{who} {has} the highest score over {len(tasks)} tasks, {most:.3f}." if most else "No target is reached."
        )
    best, *others = tasks[0].rows
    if not others:
        return f"{best.name} is the only optimizer in these logs."
    if tasks[0].given and best.arrivals.missed == 1:
        return "No optimizer reaches the target."
    if all(map(diverged, tasks[0].rows)):
        return "All optimizers diverged."
    alike = ", ".join(row.name for row in others if set(row.letters) & set(best.letters))
    what = "is the first at the target" if tasks[0].given else f"has the lowest {tasks[0].part} loss"
    return f"{best.name} {what}{f', but cannot be told from {alike}' if alike else ''}."


def diverged(row: Row) -> bool:
    """Whether the run of it that is drawn did."""
    return not math.isfinite(row.run.final)


def value(row: Row, given: bool) -> str:
    """What it is judged by: a loss, or where the target was given the ratio of its times to the best's."""
    if not given:
        return "diverged" if diverged(row) else f"{row.value:.4g}"
    d = row.behind
    return "1" if d is None else terminal.ratio(*map(exp, (d.low, d.mean, d.high)))


def behind(row: Row) -> str:
    """How much more its loss is than that of the best, and the interval where there is one."""
    if row.behind is None:
        return ""
    d = row.behind
    return f"{d.mean:.4g} ± {d.half:.2g}" if math.isfinite(d.half) else f"{d.mean:.4g}"


def _curves(task: Judged, ink: Mapping[str, Ink], unit: str) -> Figure | None:
    lines = [visuals.Line(row.name, ink[row.name], row.run.seconds if unit == "seconds" else row.run.step,
                          [row.run.valid]) for row in task.rows[::-1] if not diverged(row)]  # fmt: skip
    if not lines:
        return None
    target = {"target": task.target} if math.isfinite(task.target) else {}
    return lit(visuals.curves(lines, unit, "on the validation data", target))
