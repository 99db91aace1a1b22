"""The ranking as a table in the terminal, and in words."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..protocol.outcome import Method, Outcome, reaches, stays_at
from ..protocol.statistics import interval
from ..protocol.verdict import doubts, speed, whose, words


def show(found: Outcome, page: Path) -> None:
    """Prints what was found, and where the report is."""
    console, task = Console(highlight=False, markup=False, emoji=False), found.facts.task
    metric = [task.metric] if task.metric else []
    loss = f"{found.judged} loss"
    titles = ("", "optimizer", loss, *metric, "target: first, stays", "best lr", "ms/step")
    table = Table(*titles, box=None, pad_edge=False)
    for m in found.methods:
        accuracy = f"{sum(m.metrics) / len(m.metrics):.4f}" if m.metrics else ""
        table.add_row(
            m.group, m.name, mean(m),
            *([accuracy] if metric else []), arrival(m, found.target), rate(m),
            f"{m.time.whole:.2f}" if math.isfinite(m.time.whole) else "",
        )  # fmt: skip
    console.print(table)
    console.print(
        "± is the 95 % interval of the mean; optimizers that share a letter cannot be told apart", style="dim"
    )
    if found.target is not None:
        console.print(f"target: a validation loss of {found.target:.4g}, {whose(found)}; the step that first reaches "
                      "it, and that from which on the loss stays there", style="dim", soft_wrap=True)  # fmt: skip
    console.print(f"\n{words(found)}{' ' if speed(found) else ''}{speed(found)}", soft_wrap=True)
    for line in doubts(found):
        console.print(f"* {line}", style="dim", soft_wrap=True)
    console.print(f"\nReport: {page.resolve().as_uri()}", soft_wrap=True)


def steps(n: float) -> str:
    """A number of steps; a miss is a dash."""
    return f"{n:,.0f}" if math.isfinite(n) else "–"


def arrival(m: Method, target: float | None) -> str:
    """When it first reaches the target, and from when on it stays there."""
    return "" if target is None else f"{steps(reaches(m.tuned, target))}, {steps(stays_at(m.tuned, target))}"


def rate(m: Method) -> str:
    """The best, with a star at its edge; and the names of others that lie at theirs."""
    others = [f" ({name}*)" for name in m.edges if name != "lr"]
    return f"{m.hyper['lr']:g}{'*' * ('lr' in m.edges)}{''.join(others)}"


def mean(m: Method) -> str:
    """The mean loss and its 95 % interval."""
    if m.diverged:
        return "diverged"
    half = interval(m.losses)[1] - m.loss
    return f"{m.loss:.4f} ± {half:.4f}" if math.isfinite(half) else f"{m.loss:.4f}"
