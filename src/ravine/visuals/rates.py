"""A range test: the loss of every seed against the rate, their smoothed mean, and the rate that is suggested."""

from collections.abc import Sequence

from .figure import Figure, finite, layout, stroke
from .palette import ink


def rates(
    lrs: Sequence[float], runs: Sequence[Sequence[float]], smooth: Sequence[float], chosen: float | None
) -> Figure:
    """Runs may end early. The axis shows where the loss falls, and not how high it explodes after."""
    top = max(*smooth[: len(smooth) // 2], smooth[0])
    low, high = min(smooth), top + 0.4 * (top - min(smooth))
    traces = [
        _trace(f"seed {i}", lrs, run) | {"line": {"color": ink(0).pale(0.3), "width": 1}, "legendgroup": "seeds"}
        for i, run in enumerate(runs)
    ]
    traces.append(_trace("mean, smoothed", lrs, smooth) | {"line": stroke(ink(0))})
    if chosen is not None:
        mark = {"line": {"color": ink(1).colour, "width": 1.5, "dash": "dot"}, "mode": "lines+text"}
        words = {"text": ["", f"{chosen:.2g}"], "textposition": "middle right"}
        traces.append(_trace("suggestion", [chosen] * 2, [low, top + 0.2 * (high - top)]) | mark | words)
    made = layout("learning rate", "loss", True, [0.0])
    made["yaxis"]["range"] = [low - 0.1 * (high - low), high]
    return {"data": traces, "layout": made | {"showlegend": True}}


def _trace(name: str, x: Sequence[float], y: Sequence[float]) -> dict[str, object]:
    return {"type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "x": finite(x[: len(y)]),
            "y": finite(y), "hovertemplate": "%{y:.4g} at %{x:.2g}<extra>" + name + "</extra>"}  # fmt: skip
