"""A range test: the loss of every seed against the rate, their smoothed mean, and the rate that is suggested."""

from collections.abc import Sequence
from math import log10
from typing import Any

from .figure import Figure, finite, layout
from .palette import ink


def rates(
    lrs: Sequence[float], runs: Sequence[Sequence[float]], smooth: Sequence[float], chosen: float | None
) -> Figure:
    """Runs may end early; the axis ends where twice the first loss does, since what explodes hides the rest."""

    def line(name: str, losses: Sequence[float], **look: Any) -> dict[str, Any]:
        return {
            "type": "scatter", "mode": "lines", "legendgroup": "loss", "name": name, "x": list(lrs[: len(losses)]),
            "y": finite(losses), "line": look, "hovertemplate": "%{y:.4g} at %{x:.2g}<extra></extra>",
        }  # fmt: skip

    traces = [line(f"loss, run {i}", run, color=ink(0).pale(0.3), width=1) for i, run in enumerate(runs, 1)]
    traces.append(line("loss", smooth, color=ink(0).colour, width=2))
    figure = {"data": traces, "layout": layout("learning rate", "loss", True, [0.0])}
    low, high = min(smooth), max(smooth[0], *smooth[: len(smooth) // 2])
    room = 0.2 * (high - low) or 1.0
    figure["layout"]["yaxis"]["range"] = [low - room, high + 2 * room]
    if chosen is not None:
        mark = {"color": ink(1).colour, "dash": "dot", "width": 1.5}
        figure["layout"] |= {
            "shapes": [{"type": "line", "x0": chosen, "x1": chosen, "yref": "paper", "y0": 0, "y1": 1, "line": mark}],
            "annotations": [{"text": f"{chosen:.2g}", "x": log10(chosen), "y": 1, "yref": "paper", "yanchor": "top",
                             "xanchor": "left", "showarrow": False}],
        }  # fmt: skip
    return figure
