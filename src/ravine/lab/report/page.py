"""Gathers what the template shows: the ranking, the charts, the equations, and how it was all made."""

import inspect
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ravine import visuals
from ravine.visuals.engine import engine

from ..devices import cores
from ..search import Entry
from ..stopwatch import StepTime
from ..tasks import Data, Task
from ..verdict import words
Row = object
from .equations import mathml


@dataclass(frozen=True)
class Facts:
    """How the comparison was made."""

    task: Task
    command: str
    entries: list[Entry]
    epochs: int
    seeds: int
    steps: int
    preset: str | None
    carry_over: bool
    schedule: str
    data: Data


def page(rows: Sequence[Row], times: Sequence[StepTime], facts: Facts) -> str:
    """The report as HTML."""
    inks = {entry.name: visuals.ink(i) for i, entry in enumerate(facts.entries)}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        facts=facts,
        infinity=math.inf,
        verdict=words(list(rows)),
        rows=[_shown(row, ms, inks[row.entry.name], _scale(rows)) for row, ms in zip(rows, times, strict=True)],
        searched=len(facts.entries[0].lrs),
        rates=[(e.label, e.lrs, dict(e.hyper)) for e in facts.entries],
        charts=Markup(json.dumps(_charts(rows, times, facts, inks)).replace("</", "<\\/")),
        engine=Markup(engine()),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{_processor()}, {platform.system()}",
        versions=[(name, version(name)) for name in ("ravine", "torch", "numpy")]
        + [("Python", platform.python_version())],
    )


def _charts(
    rows: Sequence[Row], times: Sequence[StepTime], facts: Facts, inks: dict[str, visuals.Ink]
) -> dict[str, Any]:
    """Curves at the best rate, and what the rate does; drawn in the order of the ranking, the leader on top."""
    charts = {}
    drawn = [(row, ms) for row, ms in zip(rows, times, strict=True) if math.isfinite(row.best.score)][::-1]
    for part, title in (("train", "training loss"), ("valid", "validation loss")):
        lines = []
        for row, ms in drawn:
            step = row.best.results[0].step
            runs = [getattr(result, part) for result in row.best.results]
            lines.append(visuals.Line(row.name, inks[row.entry.name], step, runs, [s * ms.whole / 1e3 for s in step]))
        charts[part] = visuals.curves(lines, "step", "seconds", title)
    if len(facts.entries[0].lrs) > 1:
        scans = [
            visuals.Scan(row.name, inks[row.entry.name], [c.lr for c in row.cells],
                         [[r.final for r in c.results] for c in row.cells], row.cells.index(row.best))
            for row in rows[::-1]
        ]  # fmt: skip
        charts["rates"] = visuals.sensitivity(scans, "learning rate", "final validation loss")
    return charts


def _shown(row: Row, ms: StepTime, ink: visuals.Ink, scale: tuple[float, float]) -> dict[str, Any]:
    """A row of the table and of the equations."""
    low, high = scale
    finals = [r.final for r in row.best.results]
    seconds = sorted(r.seconds for r in row.best.results)[len(finals) // 2]
    doc = inspect.getdoc(row.entry.cls) or ""
    return {
        "row": row, "ms": ms, "ink": ink, "seconds": seconds,
        "seeds": [100 * (math.log(v / low) / math.log(high / low) if low > 0 else (v - low) / (high - low))
                  for v in finals if math.isfinite(v)],
        "diverged": sum(c.diverged for c in row.cells), "trials": sum(len(c.results) for c in row.cells),
        "meaning": doc.split("\n", 1)[0], "equations": _equations(row), "hyper": dict(row.entry.hyper),
    }  # fmt: skip


def _equations(row: Row) -> Markup:
    """The traced equations; of a class that has none, nothing."""
    traced = getattr(row.entry.cls, "equations", None)
    return Markup(mathml(traced(**dict(row.entry.hyper)))) if traced else Markup()


def _scale(rows: Sequence[Row]) -> tuple[float, float]:
    """The range of the strips in the table: all final losses at the best rates, and a little air."""
    finals = [r.final for row in rows for r in row.best.results if math.isfinite(r.final)] or [1.0]
    low, high = min(finals), max(finals)
    return (
        (low / 1.05, high * 1.05) if low > 0 else (low - 0.05 * (high - low) - 1e-9, high + 0.05 * (high - low) + 1e-9)
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{name or platform.machine()}, {cores()} cores"
