"""How a score depends on a setting: the points tried, a line under them, failures on a rail along the top."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .figure import Figure, axis, finite, layout, rows, stroke
from .palette import Ink


@dataclass(frozen=True)
class Scan:
    """Scores of the runs at each setting, infinite for one that failed; `chosen` is the index of the setting taken,
    `envelope` has those of the points that a line joins."""

    name: str
    ink: Ink
    settings: Sequence[float]
    runs: Sequence[Sequence[float]]
    chosen: int
    envelope: Sequence[int]


@dataclass(frozen=True)
class Width:
    """The settings that were searched, those among them that serve, the best of all, and the width in words."""

    name: str
    ink: Ink
    searched: tuple[float, float]
    usable: tuple[float, float]
    best: float
    words: str


def sensitivity(scans: Sequence[Scan], x_title: str, y_title: str) -> Figure:
    """Mean over the runs, whiskers smallest to largest, the chosen filled; a cross on the rail where one failed."""
    values = [v for scan in scans for runs in scan.runs for v in runs if math.isfinite(v)] or [1.0]
    made, low, high = layout(x_title, y_title, True, values), min(values), max(values)
    log = made["yaxis"].get("type") == "log"
    room = (math.log10(high / low) if log else high - low) or 1.0
    rail = high * 10 ** (0.12 * room) if log else high + 0.12 * room
    traces: list[dict[str, Any]] = []
    for scan in scans:
        mean = [sum(runs) / len(runs) for runs in scan.runs]
        common = {"type": "scatter", "legendgroup": scan.name}
        under = sorted((i for i in scan.envelope if math.isfinite(mean[i])), key=lambda i: scan.settings[i])
        traces.append(common | {
            "x": [scan.settings[i] for i in under], "y": finite(mean[i] for i in under), "mode": "lines",
            "line": stroke(scan.ink, 1.5), "name": f"{scan.name}, envelope", "hoverinfo": "skip",
        })  # fmt: skip
        kept = [i for i, m in enumerate(mean) if math.isfinite(m)]
        traces.append(common | {
            "x": finite(scan.settings[i] for i in kept), "y": finite(mean[i] for i in kept), "name": scan.name,
            "mode": "markers",
            "marker": {
                "symbol": [scan.ink.marker + ("" if i == scan.chosen else "-open") for i in kept],
                "size": [12 if i == scan.chosen else 7 for i in kept],
                "opacity": [1 if i in scan.envelope else 0.55 for i in kept], "color": scan.ink.colour,
            },
            "error_y": {
                "array": finite(max(scan.runs[i]) - mean[i] for i in kept), "symmetric": False,
                "arrayminus": finite(mean[i] - min(scan.runs[i]) for i in kept),
                "color": scan.ink.pale(0.45), "thickness": 1, "width": 2,
            },
            "hovertemplate": "%{y:.4g} at %{x:.3g}<extra>" + scan.name + "</extra>",
        })  # fmt: skip
        lost = [i for i in range(len(mean)) if i not in kept]
        traces.append(common | {
            "x": finite(scan.settings[i] for i in lost), "y": [float(f"{rail:.6g}")] * len(lost),
            "name": f"{scan.name}, diverged", "mode": "markers",
            "marker": {"symbol": "x-open", "size": 9, "color": scan.ink.colour},
            "text": [f"{sum(not math.isfinite(v) for v in scan.runs[i])} of {len(scan.runs[i])} diverged at "
                     f"{scan.settings[i]:.3g}" for i in lost],
            "hovertemplate": "%{text}<extra>" + scan.name + "</extra>",
        })  # fmt: skip
    figure: Figure = {"data": traces, "layout": made}
    if any(math.isinf(v) for scan in scans for runs in scan.runs for v in runs):
        line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": rail, "y1": rail, "layer": "below",
                "line": {"color": "rgba(128,128,128,0.5)", "width": 1, "dash": "dot"}}  # fmt: skip
        note = {"text": "diverged", "xref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom", "showarrow": False,
                "y": math.log10(rail) if log else rail}  # fmt: skip
        figure["layout"] |= {"shapes": [line], "annotations": [note]}
    return figure


def widths(scans: Sequence[Width], x_title: str) -> Figure:
    """A row for each: what was searched as a thin line between its edges, what serves as a thick one, the best."""
    traces: list[dict[str, Any]] = []
    for i, scan in enumerate(scans):
        here: dict[str, Any] = {"type": "scatter", "legendgroup": scan.name, "y": [-i, -i]}
        hover = {"hovertemplate": "%{x:.3g}<extra>%{fullData.name}</extra>"}
        traces.append(here | hover | {
            "x": finite(scan.searched), "mode": "lines+markers", "name": f"{scan.name}, edges of the space",
            "line": {"color": scan.ink.pale(0.7), "width": 1.2},
            "marker": {"symbol": "line-ns-open", "size": 11, "color": scan.ink.colour},
        })  # fmt: skip
        traces.append(here | hover | {
            "x": finite(scan.usable), "mode": "lines", "line": {"color": scan.ink.colour, "width": 7},
            "name": f"{scan.name}, usable from, to",
        })  # fmt: skip
        traces.append(here | hover | {
            "x": finite([scan.best]), "y": [-i], "mode": "markers+text", "text": [scan.words],
            "textposition": "top center", "cliponaxis": False, "name": f"{scan.name}, best",
            "marker": {"symbol": "circle", "size": 9, "color": "#fff", "line": {"color": scan.ink.colour, "width": 2}},
        })  # fmt: skip
    made = rows([scan.name for scan in scans], x_title, [0.0], high=38)
    across = axis(x_title, decades=True)
    if max(s.searched[1] for s in scans) > 1e5 * min(s.searched[0] for s in scans):  # room for labels
        across["dtick"] = 2
    return {"data": traces, "layout": made | {"xaxis": across}}
