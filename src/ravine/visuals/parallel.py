"""Parallel coordinates: an upright axis for each thing that was set, one for the score, and a line for each trial."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .figure import Figure, layout
from .palette import Ink

RULE = "rgba(128,128,128,0.8)"


def parallel(
    settings: Sequence[Mapping[str, float]], scores: Sequence[float], ranges: Mapping[str, tuple[float, float]],
    score: str, ink: Ink, lost: str = "diverged",
) -> Figure:  # fmt: skip
    """Each setting on the axes in `ranges`, all of them logarithmic, and its score on the last one, lowest best.

    The better a trial, the stronger its line; the best is thick and on top. Scores that are not finite are above the
    others, dotted. `customdata` has what a height stands for.
    """
    there = [x for x in scores if math.isfinite(x)] or [1.0]
    low, high, n = min(there), max(there), len(ranges)
    log = low > 0 and high > 3 * low
    top = 1.0 if len(there) == len(scores) else 0.88  # of the last axis; above it lie those that have no score
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    traces: list[dict[str, Any]] = []
    for rank, i in enumerate(order, 1):
        found = scores[i]
        ended = math.isfinite(found)
        heights = [_part(settings[i][name], *ends, log=True) for name, ends in ranges.items()]
        best, name = rank == len(order), f"trial {i + 1}"
        traces.append({
            "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "x": list(range(n + 1)),
            "y": [round(y, 4) for y in (*heights, top * _part(found, low, high, log) if ended else 1.0)],
            "customdata": [*(settings[i][name] for name in ranges), float(f"{found:.6g}") if ended else lost],
            "line": {"color": ink.colour if best else ink.pale(round(0.15 + 0.65 * (rank / len(order)) ** 3, 3)),
                     "width": 3 if best else 1.3, "dash": "solid" if ended else "dot"},
            "hovertemplate": "%{customdata}<extra>" + name + "</extra>",
        })  # fmt: skip
    upright = [x for i in range(n + 1) for x in (i, i, None)]
    common = {"type": "scatter", "hoverinfo": "skip", "legendgroup": "axes", "name": ""}
    frame = common | {"mode": "lines", "x": upright, "y": [0, 1, None] * (n + 1), "line": {"color": RULE, "width": 1}}
    tops = [*((i, 1.02, f"{ends[1]:.3g}") for i, ends in enumerate(ranges.values())), (n, top + 0.02, f"{high:.3g}")]
    feet = [(i, -0.09, f"{ends[0]:.3g}") for i, ends in enumerate([*ranges.values(), (low, high)])]
    if top < 1:
        tops.append((n, 1.02, lost))
    xs, ys, words = zip(*tops, *feet, strict=True)
    text = common | {"mode": "text", "x": list(xs), "y": list(ys), "text": list(words), "textposition": "top center",
                     "cliponaxis": False}  # fmt: skip
    made = layout("", "", False, [0.0])
    made["xaxis"] |= {"tickmode": "array", "tickvals": list(range(n + 1)), "ticktext": [*ranges, score], "ticks": "",
                      "range": [-0.25, n + 0.25], "showgrid": False, "showline": False, "fixedrange": True}  # fmt: skip
    made["yaxis"] |= {"tickmode": "array", "tickvals": [], "ticktext": [], "range": [-0.1, 1.12], "showgrid": False,
                      "showline": False, "fixedrange": True}  # fmt: skip
    return {"data": [frame, *traces, text], "layout": made}


def _part(value: float, low: float, high: float, log: bool) -> float:
    """Where on its axis a value lies, from 0 to 1."""
    if low == high:
        return 0.5
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
