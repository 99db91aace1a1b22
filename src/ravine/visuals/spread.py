"""How values lie: a row for each thing, every value as a dot, quartiles as a box, whiskers to the extremes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import quantiles
from typing import Any

from .figure import Figure, finite, rows
from .palette import Ink


@dataclass(frozen=True)
class Values:
    """The values of one thing; those that are not finite are counted in its label."""

    name: str
    ink: Ink
    values: Sequence[float]


def spread(things: Sequence[Values], x_title: str) -> Figure:
    """Dots of one position in their lists stand at one height in every row, so that pairs can be followed."""
    traces: list[dict[str, Any]] = []
    for i, thing in enumerate(things):
        there = [(j, v) for j, v in enumerate(thing.values) if isfinite(v)]
        common = {"legendgroup": thing.name, "hovertemplate": "%{x:.5g}<extra>%{fullData.name}</extra>"}
        if len(there) > 2:
            q1, middle, q3 = quantiles([v for _, v in there], method="inclusive")
            traces.append({
                "type": "box", "orientation": "h", "legendgroup": thing.name, "name": f"{thing.name}, quartiles",
                "y": [-i], "width": 0.62, "q1": finite([q1]), "median": finite([middle]), "q3": finite([q3]),
                "lowerfence": finite([min(v for _, v in there)]), "upperfence": finite([max(v for _, v in there)]),
                "line": {"color": thing.ink.colour, "width": 1.2}, "fillcolor": thing.ink.pale(0.15),
                "hoverinfo": "skip",
            })  # fmt: skip
        n = len(thing.values)
        traces.append(common | {
            "type": "scatter", "mode": "markers", "x": finite(v for _, v in there), "name": thing.name,
            "y": [round(-i + 0.5 * ((n - 1) / 2 - j) / n, 4) for j, _ in there],
            "marker": {"symbol": thing.ink.marker, "size": 7, "color": thing.ink.colour, "opacity": 0.8},
        })  # fmt: skip
    labels = [t.name + _lost(t.values) for t in things]
    return {
        "data": traces,
        "layout": rows(labels, x_title, [v for t in things for v in t.values if isfinite(v)] or [1]),
    }


def _lost(values: Sequence[float]) -> str:
    lost = sum(not isfinite(v) for v in values)
    return f" ({lost} diverged)" if lost else ""
