"""How a score depends on a setting: a line for each thing scanned, failures on a rail along the top."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure, finite, layout, positive
from .palette import Ink


@dataclass(frozen=True)
class Scan:
    """Scores of the runs at each setting, infinite for one that failed; `chosen` is the index of the setting taken."""

    name: str
    ink: Ink
    settings: Sequence[float]
    runs: Sequence[Sequence[float]]
    chosen: int


def sensitivity(scans: Sequence[Scan], x_title: str, y_title: str) -> Figure:
    """Mean over the runs, whiskers smallest to largest, the chosen filled; a cross on the rail where one failed."""
    values = [v for scan in scans for runs in scan.runs for v in runs if math.isfinite(v)] or [1.0]
    log, low, high = positive(values), min(values), max(values)
    room = (math.log10(high / low) if log else high - low) or 1.0
    rail = high * 10 ** (0.12 * room) if log else high + 0.12 * room
    traces, taken = [], []
    for scan in scans:
        lost = [j for j, runs in enumerate(scan.runs) if not all(map(math.isfinite, runs))]
        mean = [sum(runs) / len(runs) for runs in scan.runs]  # infinite where one is: a gap in the line
        traces.append({
            "x": list(scan.settings), "y": finite(mean), "name": scan.name,
            "mode": "lines+markers", "line": {"color": scan.ink.colour, "dash": scan.ink.dash, "width": 1.5},
            "marker": {
                "symbol": [scan.ink.marker + ("" if j == scan.chosen else "-open") for j in range(len(mean))],
                "size": [12 if j == scan.chosen else 7 for j in range(len(mean))], "color": scan.ink.colour,
            },
            "error_y": {
                "array": finite(max(runs) - m for runs, m in zip(scan.runs, mean, strict=True)), "symmetric": False,
                "arrayminus": finite(m - min(runs) for runs, m in zip(scan.runs, mean, strict=True)),
                "color": scan.ink.pale(0.6), "thickness": 1, "width": 2,
            },
            "hovertemplate": "%{y:.4g} at %{x:.3g}<extra>" + scan.name + "</extra>",
        })  # fmt: skip
        beside = [taken.count(scan.settings[j]) for j in lost]  # crosses at one setting stand side by side
        taken += [scan.settings[j] for j in lost]
        traces.append({
            "x": [scan.settings[j] * 1.14**n for j, n in zip(lost, beside, strict=True)], "y": [rail] * len(lost),
            "name": scan.name, "mode": "markers",
            "marker": {"symbol": "x", "size": 9, "color": scan.ink.colour},
            "text": [f"{sum(not math.isfinite(v) for v in scan.runs[j])} of {len(scan.runs[j])} diverged at "
                     f"{scan.settings[j]:.3g}" for j in lost],
            "hovertemplate": "%{text}<extra>" + scan.name + "</extra>",
        })  # fmt: skip
    figure = {"data": traces, "layout": layout(x_title, y_title, True, values)}
    if any(math.isinf(v) for scan in scans for runs in scan.runs for v in runs):
        line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": rail, "y1": rail, "layer": "below",
                "line": {"color": "rgba(128,128,128,0.5)", "width": 1, "dash": "dot"}}  # fmt: skip
        note = {"text": "diverged", "xref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom", "showarrow": False,
                "y": math.log10(rail) if log else rail}  # fmt: skip
        figure["layout"] |= {"shapes": [line], "annotations": [note]}
    return figure
