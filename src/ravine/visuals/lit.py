"""Many curves that can be read: one is lit, in its colour with its band and runs, the others are grey lines."""

from collections.abc import Sequence
from typing import Any

from .figure import Figure

GREY = "#c0c7ce"


def dimmed(figure: Figure) -> list[dict[str, Any]]:
    """The traces of a figure, the lit group on top; all of them as they are where none is lit."""
    if "lit" not in figure:
        return figure["data"]
    *around, line = [trace for trace in figure["data"] if trace["legendgroup"] == figure["lit"]]
    grey = [
        trace | {"line": trace["line"] | {"color": GREY, "width": 1.3, "dash": "solid"}}
        for trace in figure["data"]
        if trace["name"] == trace["legendgroup"] != figure["lit"]
    ]
    return [*grey, *around, line | {"line": line["line"] | {"width": 3}}]


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """Where labels stand, from 0 to 1: each at its height or as near as the others leave room, in the same order."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    out, floor = list(heights), 0.0
    for i in order:
        floor = out[i] = max(out[i], floor)
        floor += gap
    ceiling = 1.0
    for i in reversed(order):
        ceiling = out[i] = min(out[i], ceiling)
        ceiling -= gap
    return out
