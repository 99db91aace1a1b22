"""The ranking as a table in the terminal, and in words."""

import math
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from ..protocol.outcome import Method, Outcome, reaches, stays_at
from ..protocol.verdict import advised, doubts, power, speed, whose, words


def show(found: Outcome, page: Path) -> None:
    """Prints what was found, and where the report is."""
    console, task = Console(highlight=False, markup=False, emoji=False), found.facts.task
    metric = [task.metric] if task.metric else []
    loss = f"{found.judged} loss"
    titles = (loss, "behind", *metric, "steps to\ntarget, stay", "best lr", "ms/step", "fit s")
    table = Table("", Column("optimizer", no_wrap=True), *titles, box=None, pad_edge=False)
    for m in found.methods:
        accuracy = f"{sum(m.metrics) / len(m.metrics):.4f}" if m.metrics else ""
        table.add_row(
            found.groups[m.name], m.name, "diverged" if m.diverged else f"{m.loss:.4f}", behind(found, m),
            *([accuracy] if metric else []), arrival(m, found.target), rate(m),
            *(f"{x:.2f}" if math.isfinite(x) else "" for x in (m.time.whole, m.seconds)),
        )  # fmt: skip
    console.print(table)
    console.print(f"{meaning(found)}; ± is an interval that holds for all at once in 95 % of comparisons; optimizers "
                  "that share a letter cannot be told apart; fit s: seconds of a run, beside other runs", style="dim",
                  soft_wrap=True)  # fmt: skip
    if found.target is not None:
        console.print(f"target: a validation loss of {found.target:.4g}, {whose(found)}; the step that first reaches "
                      "it, and that from which on the loss stays there", style="dim", soft_wrap=True)  # fmt: skip
    console.print("\n" + " ".join(filter(None, (words(found), power(found), speed(found)))), soft_wrap=True)
    if advised(found):
        console.print(advised(found), soft_wrap=True)
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
        return f"{found.judged} loss is the mean over the seeds"
    settings = f"{tier.search} setting{'s' * (tier.search > 1)}, from the {tier.points} tried of each"
    return f"{found.judged} loss is that to be expected of a search of {settings}"
