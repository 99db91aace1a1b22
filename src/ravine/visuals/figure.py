"""What all figures have in common: plain lists, and a layout whose colours the page sets to suit light or dark.

A figure is what plotly.js takes, and no more of it than `still` can draw too: traces of lines and markers, bars, boxes
and a heat map. `legendgroup` of a trace is the thing it belongs to, `name` what its row of the data is called; a trace
whose `hoverinfo` is "skip" is drawn, and is no data. `lit` of a figure is the group that stands
out, as `lit` has it; names at the ends of the curves are its legend.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .palette import Ink

Figure = dict[str, Any]


def layout(x: str, y: str, log_x: bool, values: Sequence[float]) -> dict[str, Any]:
    """Axes with these titles, y logarithmic where the values allow; room for phone screens, nothing else."""
    return {
        "xaxis": axis(x, decades=log_x),
        "yaxis": axis(y) | _levels(values),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
    }


def rows(names: Sequence[str], x: str, values: Sequence[float], high: int = 34) -> dict[str, Any]:
    """A layout with a row for each name, the first on top, at y = 0, -1, -2 …; x logarithmic where the values allow."""
    labels = {"tickmode": "array", "tickvals": [-i for i in range(len(names))], "ticktext": list(names)}
    frame = {"range": [0.6 - len(names), 0.6], "ticks": "", "showgrid": False, "fixedrange": True}
    across = axis(x) | _levels(values)
    return layout(x, "", False, [0.0]) | {
        "xaxis": across, "yaxis": axis("") | labels | frame, "height": 64 + high * len(names)
    }  # fmt: skip


def axis(title: str, decades: bool = False) -> dict[str, Any]:
    """One axis; with `decades` a logarithmic one that is labelled at powers of ten."""
    name = {"text": title, "standoff": 10}
    plain = {"title": name, "automargin": True, "zeroline": False, "ticks": "outside", "nticks": 7}
    return plain | ({"type": "log", "dtick": 1, "exponentformat": "power"} if decades else {})


def _levels(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis, labelled as the decades leave room; not where values are close, or some not above 0."""
    if min(values) <= 0 or max(values) < 3 * min(values):
        return {}
    wide = max(values) / min(values)
    return {"type": "log", "dtick": "D1" if wide < 10 else "D2" if wide < 100 else 1, "tickformat": "~g"}


def stroke(ink: Ink, width: float = 2) -> dict[str, Any]:
    """A line of plotly's in this ink."""
    return {"color": ink.colour, "dash": ink.dash, "width": width}


def finite(values: Iterable[float]) -> list[float | None]:
    """A list for JSON, which has no nan or infinity: a gap instead."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]


def thin(n: int, most: int = 200) -> list[int]:
    """At most `most` of the indices below n, evenly, with the first and the last."""
    return list(range(n)) if n <= most else sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})
