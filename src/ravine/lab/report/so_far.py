"""The page while a comparison runs: what is known of each optimizer so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ravine import visuals
from ravine.visuals import Ink
from ravine.visuals.figure import Figure

from ..protocol.trial import Result, Trial
from .exhibits import TITLES, lit
from .page import rendered
from .width import envelope

EVERY = 3  # seconds from one look for news to the next


@dataclass(frozen=True)
class Row:
    """An optimizer, and its trials that have ended."""

    name: str
    ink: Ink
    trials: Sequence[tuple[Trial, Result]]

    @property
    def kept(self) -> tuple[Trial, Result] | None:
        """The one that is best on the validation data."""
        ended = [(t, r) for t, r in self.trials if r.diverged_at is None]
        return min(ended, key=lambda x: x[1].final, default=None)

    @property
    def best(self) -> Result | None:
        """What came out of it."""
        return self.kept and self.kept[1]

    @property
    def lr(self) -> float | None:
        """Its learning rate."""
        return self.kept and self.kept[0].lr

    @property
    def diverged(self) -> int:
        """How many of the trials did."""
        return sum(r.diverged_at is not None for _, r in self.trials)


def so_far(
    task: str, labels: Mapping[str, str], done: Mapping[Trial, Result], total: int, quantity: str = "loss"
) -> str:
    """The HTML. `labels` are what the optimizers of trials are called; it looks for news at "now", where the number of
    trials that are done stands."""
    names = sorted(labels.values())
    rows = [Row(label, visuals.ink(names.index(label)), [(t, r) for t, r in done.items() if t.optimizer == name])
            for name, label in labels.items()]  # fmt: skip
    return rendered(
        "so_far.html", _figures(rows, quantity), {}, task=task, rows=rows, done=len(done), total=total, now=len(done),
        every=EVERY, quantity=quantity, titles=TITLES,
    )  # fmt: skip


def _figures(rows: Sequence[Row], quantity: str) -> dict[str, Figure]:
    found = sorted((row for row in rows if row.best), key=lambda row: row.best.final if row.best else 0.0, reverse=True)
    if not found:
        return {}
    figures = {
        part: lit(visuals.curves(
            [visuals.Line(row.name, row.ink, row.best.step, [getattr(row.best, part)]) for row in found if row.best],
            "step", title,
        )) for part, title in (("train", "training loss"), ("valid", f"validation {quantity}"))
    }  # fmt: skip
    return figures | {
        "rates": visuals.sensitivity([_scan(row) for row in found], "learning rate", f"validation {quantity}")
    }


def _scan(row: Row) -> visuals.Scan:
    lrs, losses = [t.lr for t, _ in row.trials], [r.final for _, r in row.trials]
    best = losses.index(min(losses))
    return visuals.Scan(row.name, row.ink, lrs, [[x] for x in losses], best, envelope(lrs, losses))
