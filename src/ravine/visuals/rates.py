"""A range test: the loss of every seed against the rate, their smoothed mean, and the rate that is suggested."""

from collections.abc import Sequence
from math import log10
from pathlib import Path

from .figure import Figure, finite, layout
from .palette import COLOURS, ink


def rates(
    lrs: Sequence[float], runs: Sequence[Sequence[float]], smooth: Sequence[float], chosen: float | None
) -> Figure:
    """Runs may end early; the axis ends where twice the first loss does, since what explodes hides the rest."""
    line = {"mode": "lines", "hovertemplate": "%{y:.4g} at %{x:.2g}<extra></extra>"}
    traces = [
        {"x": list(lrs[: len(run)]), "y": finite(run), "line": {"color": ink(0).pale(0.3), "width": 1}, **line}
        for run in runs
    ]
    traces.append({"x": list(lrs[: len(smooth)]), "y": finite(smooth), "line": {"color": ink(0).colour}, **line})
    figure = {"data": traces, "layout": layout("learning rate", "loss", True, [0.0])}
    low, high = min(smooth), max(smooth[0], *smooth[: len(smooth) // 2])
    room = 0.2 * (high - low) or 1.0
    figure["layout"]["yaxis"]["range"] = [low - room, high + 2 * room]
    if chosen is not None:
        mark = {"color": ink(1).colour, "dash": "dot"}
        figure["layout"] |= {
            "shapes": [{"type": "line", "x0": chosen, "x1": chosen, "yref": "paper", "y0": 0, "y1": 1, "line": mark}],
            "annotations": [{"text": f"{chosen:.2g}", "x": log10(chosen), "y": 1, "yref": "paper", "showarrow": False}],
        }  # fmt: skip
    return figure


def still(figure: Figure, title: str, path: Path) -> None:
    """The same as a picture, in the format that the file's name ends in."""
    from matplotlib.figure import Figure as Paper  # an extra: imported when used

    paper = Paper(figsize=(7, 4), dpi=150, layout="constrained")
    axes = paper.add_subplot()
    *runs, mean = figure["data"]
    for run in runs:
        axes.semilogx(run["x"], run["y"], color=COLOURS[0], alpha=0.3, linewidth=1)
    axes.semilogx(mean["x"], mean["y"], color=COLOURS[0])
    for mark in figure["layout"].get("shapes", ()):
        axes.axvline(mark["x0"], color=COLOURS[1], linestyle=":")
    axes.set(xlabel="learning rate", ylabel="loss", ylim=figure["layout"]["yaxis"]["range"])
    axes.set_title(title, fontsize=9, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    paper.savefig(path)
