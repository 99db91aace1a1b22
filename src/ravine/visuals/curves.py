"""Curves with a band: the mean of several runs, and the range they cover."""

from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure, finite, layout, thin
from .palette import Ink


@dataclass(frozen=True)
class Line:
    """A curve for each run at common points x; `alternative_x` are the same points in another measure."""

    name: str
    ink: Ink
    x: Sequence[float]
    runs: Sequence[Sequence[float]]
    alternative_x: Sequence[float]


def curves(lines: Sequence[Line], x_title: str, alternative_title: str, y_title: str) -> Figure:
    """Mean as a line, smallest to largest as a band. `alternative` of the figure has what the page's switch puts in."""
    traces, other = [], []
    for line in lines:
        at = thin(len(line.x))
        columns = [[run[i] for run in line.runs] for i in at]
        low, high = finite(map(min, columns)), finite(map(max, columns))
        mean = finite(sum(c) / len(c) for c in columns)
        for xs, kept in (([line.x[i] for i in at], traces), ([line.alternative_x[i] for i in at], other)):
            x = finite(xs)
            kept.append({"x": x + x[::-1]})
            kept.append({"x": x})
        traces[-2] |= {
            "y": high + low[::-1], "fill": "toself", "fillcolor": line.ink.pale(0.18), "line": {"width": 0},
            "mode": "lines", "hoverinfo": "skip", "name": line.name,
        }  # fmt: skip
        traces[-1] |= {
            "y": mean, "mode": "lines", "name": line.name,
            "line": {"color": line.ink.colour, "dash": line.ink.dash, "width": 2},
            "hovertemplate": "%{y:.4g} at %{x:.4~g}<extra>" + line.name + "</extra>",
        }  # fmt: skip
    values = [v for line in lines for run in line.runs for v in run] or [1.0]
    return {
        "data": traces,
        "layout": layout(x_title, y_title, False, values),
        "alternative": {"x": [trace["x"] for trace in other], "title": alternative_title},
    }
