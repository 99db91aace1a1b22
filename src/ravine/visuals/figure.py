"""What all figures have in common: plain lists, and a layout whose colours the page sets to suit light or dark."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

Figure = dict[str, Any]


def layout(x: str, y: str, log_x: bool, values: Sequence[float]) -> dict[str, Any]:
    """Axes with these titles, y logarithmic where the values allow; room for phone screens, nothing else."""
    axis = {"automargin": True, "zeroline": False, "ticks": "outside", "nticks": 7}
    decades = {"type": "log", "dtick": 1, "exponentformat": "power"}
    log_y = {"type": "log", "dtick": "D2" if max(values) < 100 * min(values) else 1, "tickformat": "~g"}
    return {
        "xaxis": axis | {"title": {"text": x}} | (decades if log_x else {}),
        "yaxis": axis | {"title": {"text": y}} | (log_y if positive(values) else {}),
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
    }


def finite(values: Iterable[float]) -> list[float | None]:
    """A list for JSON, which has no nan or infinity: a gap instead."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]


def thin(n: int, most: int = 200) -> list[int]:
    """At most `most` of the indices below n, evenly, with the first and the last."""
    return list(range(n)) if n <= most else sorted({round(i * (n - 1) / (most - 1)) for i in range(most)})


def positive(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis can show all of these."""
    return min(values) > 0
