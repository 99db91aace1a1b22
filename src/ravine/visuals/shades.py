"""Curves in shades from blue to orange, by a setting that each of them has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .figure import Figure, finite, layout, thin

ENDS = ((0, 114, 178), (230, 159, 0))  # of the palette: told apart by colour-blind readers, on white and on black


@dataclass(frozen=True)
class Shade:
    """A curve, and what its setting is."""

    setting: float
    x: Sequence[float]
    y: Sequence[float]


def shades(found: Sequence[Shade], best: int, of: str, x_title: str, y_title: str) -> Figure:
    """Settings on a logarithmic scale; the curve number `best` is thick. The legend has the ends and the best."""
    logs = [math.log(shade.setting) for shade in found]
    low, wide = min(logs), max(logs) - min(logs) or 1.0
    named = {logs.index(min(logs)), best, logs.index(max(logs))}
    traces: list[dict[str, Any]] = []
    for i in sorted(range(len(found)), key=lambda i: (i == best, logs[i])):
        shade, name, at = found[i], f"{of} {found[i].setting:.3g}", thin(len(found[i].x), 60)
        part = (logs[i] - low) / wide
        colour = "#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(*ENDS, strict=True))
        traces.append({
            "type": "scatter", "mode": "lines", "legendgroup": name if i in named else "others",
            "name": name, "x": [shade.x[j] for j in at], "y": finite(shade.y[j] for j in at),
            "line": {"color": colour, "width": 4 if i == best else 1.3}, "showlegend": i in named,
            "hovertemplate": "%{y:.4g} at %{x:.4~g}<extra>" + name + "</extra>",
        })  # fmt: skip
    values = [y for shade in found for y in shade.y if math.isfinite(y)] or [1.0]
    return {"data": traces, "layout": layout(x_title, y_title, False, values) | {"showlegend": True}}
