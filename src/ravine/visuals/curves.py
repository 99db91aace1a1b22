"""Curves with a band: the mean of several runs, the range they cover, and each run as a thin line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite, log10, nan
from typing import Any

from .figure import Figure, finite, layout, stroke, thin
from .palette import Ink


@dataclass(frozen=True)
class Line:
    """A curve for each run at common points x; nan or infinity is a gap. `measures` are other units that x can be
    told in: their titles, and how many of them are one of x."""

    name: str
    ink: Ink
    x: Sequence[float]
    runs: Sequence[Sequence[float]]
    measures: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Band:
    """A curve and an interval around it."""

    name: str
    ink: Ink
    x: Sequence[float]
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def curves(lines: Sequence[Line], x_title: str, y_title: str, targets: Mapping[str, float] | None = None) -> Figure:
    """Mean as a line, smallest to largest as a band, runs thin; `targets` are levels, with what they are called.
    `measures` of the figure has for each unit, the first being x's own, what every trace's x is multiplied by."""
    traces: list[dict[str, Any]] = []
    factors: dict[str, list[float]] = {unit: [] for line in lines for unit in (x_title, *line.measures)}
    for line in lines:
        at = thin(len(line.x))
        columns = [[run[i] for run in line.runs] for i in at]
        columns = [c if all(map(isfinite, c)) else [nan] for c in columns]  # no mean of the survivors
        x = [line.x[i] for i in at]
        mean = [sum(c) / len(c) for c in columns]
        made = band(Band(line.name, line.ink, x, mean, [*map(min, columns)], [*map(max, columns)]), "lowest", "highest")
        thinner = {"color": line.ink.pale(0.45), "width": 0.8}
        seeds = [
            _trace(line.name, f"{line.name}, run {i}", x, [run[j] for j in at], line=thinner)
            for i, run in enumerate(line.runs, 1)
        ]
        made = [*made[:2], *seeds, made[2]] if len(seeds) > 1 else made[2:]
        traces += made
        for unit, factor in {x_title: 1.0, **line.measures}.items():
            factors[unit] += [float(f"{factor:.6g}")] * len(made)
    values = [v for line in lines for v in chain(*line.runs) if isfinite(v)] or [1.0]
    figure: Figure = {"data": traces, "layout": layout(x_title, y_title, False, values), "measures": factors}
    return levels(figure, targets or {})


def bands(bands: Sequence[Band], x_title: str, y_title: str, low: str, high: str) -> Figure:
    """Curves, each in its interval, from what is called `low` to what is called `high`."""
    values = [v for b in bands for v in (*b.middle, *b.low, *b.high) if isfinite(v)] or [1.0]
    traces = [trace for b in bands for trace in band(b, low, high, 0.18 / len(bands) ** 0.5)]
    return {"data": traces, "layout": layout(x_title, y_title, False, values)}


def band(b: Band, low: str, high: str, opacity: float = 0.15) -> list[dict[str, Any]]:
    """The traces of one: lower edge, upper edge with the colour between them, and the line on top."""
    there = [i for i in range(len(b.x)) if isfinite(b.low[i]) and isfinite(b.high[i])]  # no colour across a gap
    x, none = [b.x[i] for i in there], {"width": 0}
    return [
        _trace(b.name, f"{b.name}, {low}", x, [b.low[i] for i in there], line=none),
        _trace(b.name, f"{b.name}, {high}", x, [b.high[i] for i in there], line=none)
        | {"fill": "tonexty", "fillcolor": b.ink.pale(round(opacity, 3))},
        _trace(b.name, b.name, b.x, b.middle, line=stroke(b.ink)),
    ]


def levels(figure: Figure, targets: Mapping[str, float]) -> Figure:
    """The figure with horizontal lines at these heights, each with its name; a log axis has no place for 0 and less."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "above",
            "line": {"color": "rgba(128,128,128,0.9)", "width": 1.2, "dash": "dash"}}  # fmt: skip
    note = {"xref": "paper", "x": 0, "xanchor": "left", "showarrow": False}
    log = figure["layout"]["yaxis"].get("type") == "log"
    targets = {name: y for name, y in targets.items() if y > 0 or not log}
    figure["layout"]["shapes"] = [line | {"y0": y, "y1": y} for y in targets.values()]
    figure["layout"]["annotations"] = [
        note | {"text": f"{name} {y:.4g}", "y": log10(y) if log else y,
                "yanchor": "top" if len(targets) > 1 and y == min(targets.values()) else "bottom"}
        for name, y in targets.items()
    ]  # fmt: skip
    return figure


def _trace(group: str, name: str, x: Sequence[float], y: Sequence[float], line: dict[str, Any]) -> dict[str, Any]:
    """A line; hovering names it."""
    return {
        "type": "scatter", "mode": "lines", "legendgroup": group, "name": name, "x": finite(x), "y": finite(y),
        "line": line, "hovertemplate": "%{y:.4g} at %{x:.4~g}<extra>" + name + "</extra>", "showlegend": name == group,
    }  # fmt: skip
