"""The ranking as a table in the terminal, and in words."""

import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Column, Table

from ..protocol.examined import told
from ..protocol.outcome import Method, Outcome, reaches, stays_at
from ..protocol.score import Scores
from ..protocol.verdict import advised, doubts, easier, power, speed, words
from .classic import epochs, marks, training

Columns = list[tuple[str, Callable[[Method], str]]]


def show(found: Outcome, page: Path) -> None:
    """Prints what was found, and where the report is."""
    console = Console(highlight=False, markup=False, emoji=False)
    shown, target = columns(found), found.aim
    table = Table("", Column("optimizer", no_wrap=True), *(title for title, _ in shown), box=None, pad_edge=False)
    for m in found.methods:
        table.add_row(found.groups[m.name], m.name, *(cell(m) for _, cell in shown))
    console.print(table)
    console.print(f"{meaning(found)}; ± is an interval that holds for all at once in 95 % of comparisons; optimizers "
                  "that share a letter cannot be told apart; fit s: seconds of a run, beside other runs", style="dim",
                  soft_wrap=True)  # fmt: skip
    if found.facts.preset == "classic":
        said = ", and ".join(f"at {loss:.4g}, {what}" for what, loss in marks(found).items())
        console.print(f"epochs: after which the mean validation {found.quantity} first is {said}; training loss: the "
                      "mean over the last batches", style="dim", soft_wrap=True)  # fmt: skip
    elif target is not None:
        console.print(f"target: a validation {found.quantity} of {target:.4g}, {easier(found)}; the step that first "
                      "reaches it, and that from which on it stays there", style="dim", soft_wrap=True)  # fmt: skip
    console.print(
        "\n" + " ".join(filter(None, (words(found), power(found), speed(found), told(found)))), soft_wrap=True
    )
    if advised(found):
        console.print(advised(found), soft_wrap=True)
    for line in doubts(found):
        console.print(f"* {line}", style="dim", soft_wrap=True)
    console.print(f"\nReport: {page.resolve().as_uri()}", soft_wrap=True)


def columns(found: Outcome) -> Columns:
    """The titles, and what each says of a method."""
    metric, classic = found.facts.task.metric, found.facts.preset == "classic"
    loss: Columns = [
        (
            found.measure.replace(" ", "\n", 1) if classic else found.measure,
            lambda m: "diverged" if m.diverged else f"{m.loss:.4f}",
        ),
        ("behind", lambda m: behind(found, m)),
        *([(metric, lambda m: f"{fmean(m.metrics):.4f}" if m.metrics else "")] if metric else []),
    ]
    cost: Columns = [("ms/step", lambda m: number(m.time.whole, 2)), ("fit s", lambda m: number(m.seconds, 2))]
    if not classic:
        lr = "best lr" if found.methods[0].tried else "lr"
        return [
            *loss,
            ("steps to\ntarget, stay", lambda m: arrival(m, found.aim)),
            (lr, rate),
            *cost,
        ]
    low = marks(found).values()
    soon: Columns = [
        ("epochs to\n" + ", ".join(f"{x:.4g}" for x in low),
         lambda m: ", ".join(number(epochs(found, m, x), 1) or "–" for x in low)),
    ]  # fmt: skip
    return [("training\nloss", lambda m: number(training(m), 4)), *loss, *(soon if low else []), ("lr", rate), *cost]


def number(x: float, digits: int) -> str:
    """With so many digits after the point; nothing where it is not finite."""
    return f"{x:.{digits}f}" if math.isfinite(x) else ""


def scores(found: Scores, unit: str = "steps") -> None:
    """Prints the scores over several tasks."""
    console = Console(highlight=False, markup=False, emoji=False)
    titles = ("score", f"{unit} by {found.baseline}", "searches that miss")
    table = Table(Column("optimizer", no_wrap=True), *titles, box=None, pad_edge=False)
    for s in found.standings:
        by = "1" if s.name == found.baseline else ratio(*found.interval(s))
        table.add_row(s.name, f"{s.score:.3f}", by, f"{s.missed:.0%}")
    console.print(f"\nOver {len(found.tasks)} tasks: {', '.join(found.tasks)}", soft_wrap=True)
    console.print(table)
    console.print(
        f"score: the mean height of the performance profile from 1 to 4 times the fastest, as AlgoPerf's; {unit}: of "
        "a search to the target, their geometric mean over tasks by the baseline's, and an interval; all intervals "
        "hold at once in 95 % of comparisons. A search that misses the target counts as if it arrived at the end",
        style="dim",
        soft_wrap=True,
    )


def ratio(low: float, middle: float, high: float) -> str:
    """A ratio and its interval, where there is one."""
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]" if math.isfinite(high) else f"{middle:.3g}"


def steps(n: float) -> str:
    """A number of steps; a miss is a dash."""
    return f"{n:,.0f}" if math.isfinite(n) else "–"


def arrival(m: Method, target: float | None) -> str:
    """When it first reaches the target, and from when on it stays there."""
    return "" if target is None else f"{steps(reaches(m.tuned, target))}, {steps(stays_at(m.tuned, target))}"


def rate(m: Method) -> str:
    """The best, with a star at its edge; and the names of others that lie at theirs."""
    others = [f" ({name}*)" for name in m.edges if not name.startswith("lr")]
    return f"{m.hyper['lr']:g}{'*' * (len(others) < len(m.edges))}{''.join(others)}"


def behind(found: Outcome, m: Method) -> str:
    """How much more its loss is than that of the best, and the interval."""
    if (d := found.behind(m)) is None:
        return ""
    return f"{d.mean:.4f} ± {d.half:.4f}" if math.isfinite(d.half) else f"{d.mean:.4f}"


def meaning(found: Outcome) -> str:
    """What the loss is of."""
    tier = found.facts.tier
    if not found.methods[0].tried:
        return f"{found.measure} is the mean over the seeds"
    settings = f"{tier.search} setting{'s' * (tier.search > 1)}, from the {tier.points} tried of each"
    return f"{found.measure} is that to be expected of a search of {settings}"
