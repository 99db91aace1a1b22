"""The same figures on paper: matplotlib draws what plotly.js draws in the page.

Of what a figure can say only the part that our own figures use is known here; anything else is an error.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes  # an extra: this file is imported by what needs it
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator, PercentFormatter

from .figure import Figure
from .lit import GREY, apart, dimmed

WIDTH, HEIGHT, PIXELS = 6.5, 3.6, 96  # inches, inches, of plotly in an inch
FONT = 8.5
DASH = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
MARKER = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "star": "*",
          "hexagon": "h", "pentagon": "p", "x": "x", "line-ns": "|"}  # fmt: skip


def png(figures: Mapping[str, Figure], folder: Path) -> None:
    """A picture of each, of 200 dots an inch, named after the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        still(figure).savefig(folder / f"{name}.png", dpi=200)


def pdf(figures: Mapping[str, Figure], path: Path) -> None:
    """All in one file, a page each."""
    with PdfPages(path) as pages:
        for figure in figures.values():
            pages.savefig(still(figure))


def still(figure: Figure) -> Sheet:
    """One figure under its title, 6.5 inches wide, no letter smaller than 8 points."""
    layout = figure["layout"]
    drawn = Sheet(figsize=(WIDTH, max(1.6, layout["height"] / PIXELS * 0.85) if "height" in layout else HEIGHT),
                  layout="constrained")  # fmt: skip
    FigureCanvasAgg(drawn)
    axes = drawn.add_subplot()
    axes.set_title(figure["title"], fontsize=10, loc="left")
    _frame(axes, layout)
    ends: dict[float, float] = {}  # of the stacked bars so far, by their row
    traces = dimmed(figure)
    for i, trace in enumerate(traces):
        kind = trace["type"]
        if kind == "scatter":
            _scatter(axes, trace, traces[i - 1])
        elif kind == "bar":
            _bar(axes, trace, ends)
        elif kind == "box":
            _box(axes, trace)
        elif kind == "heatmap":
            _heat(axes, trace)
        else:
            raise ValueError(f"a still has scatter, bar, box and heatmap, and this figure has a {kind}")
    _marks(axes, layout)
    if "lit" in figure:
        _names(axes, traces)
    elif "ticktext" not in layout["yaxis"]:
        _legend(drawn, axes, figure)
    return drawn


def _frame(axes: Axes, layout: dict[str, Any]) -> None:
    """Axes, their scales, ticks and titles."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spec in ((axes.xaxis, layout["xaxis"]), (axes.yaxis, layout["yaxis"])):
        name = side.axis_name
        side.set_label_text(spec["title"]["text"], fontsize=FONT)
        log = spec.get("type") == "log"
        if log:
            axes.set(**{f"{name}scale": "log"})
            if spec.get("dtick") in ("D1", "D2"):
                side.set_major_locator(LogLocator(subs=(1, 2, 5) if spec["dtick"] == "D2" else range(1, 10)))
                side.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            side.set_minor_formatter(NullFormatter())
            side.set_minor_locator(NullLocator())
        if "tickvals" in spec:
            side.set_major_locator(FixedLocator(spec["tickvals"]))
            side.set_ticklabels(spec["ticktext"])
        if "%" in spec.get("tickformat", ""):
            side.set_major_formatter(PercentFormatter(1))
        if "range" in spec:
            axes.set(**{f"{name}lim": [10**v if log else v for v in spec["range"]]})
        if spec.get("showgrid") is False:
            side.grid(visible=False)
    axes.tick_params(labelsize=FONT, length=3)


def _scatter(axes: Axes, trace: dict[str, Any], before: dict[str, Any]) -> None:
    """Lines, markers, whiskers, and the colour between a line and the one before it."""
    x, y, line, marker = _floats(trace["x"]), _floats(trace["y"]), trace.get("line", {}), trace.get("marker", {})
    if trace.get("fill") == "tonexty":
        colour, opacity = _colour(trace["fillcolor"])
        axes.fill_between(x, _floats(before["y"]), y, color=colour, alpha=opacity, linewidth=0)
    if "lines" in trace["mode"] and line.get("width"):
        colour, opacity = _colour(line["color"])
        axes.plot(x, y, color=colour, alpha=opacity, linestyle=DASH[line.get("dash", "solid")],
                  linewidth=0.7 * line["width"], drawstyle="steps-post" if line.get("shape") == "hv" else "default",
                  solid_capstyle="butt")  # fmt: skip
    if "error_y" in trace:
        colour, opacity = _colour(trace["error_y"]["color"])
        ends = [trace["error_y"]["arrayminus"], trace["error_y"]["array"]]
        axes.errorbar(x, y, ends, fmt="none", ecolor=colour, alpha=opacity, elinewidth=0.7)
    if "markers" in trace["mode"]:
        for i in range(len(x)):
            _dot(axes, x[i], y[i], {k: v[i] if isinstance(v, list) else v for k, v in marker.items()})
    if "text" in trace["mode"]:
        for a, b, text in zip(x, y, trace["text"], strict=True):
            axes.annotate(text, (a, b), (0, 5), textcoords="offset points", ha="center", va="bottom", fontsize=FONT)


def _dot(axes: Axes, x: float, y: float, marker: dict[str, Any]) -> None:
    symbol, hollow = marker["symbol"].removesuffix("-open"), marker["symbol"].endswith("-open")
    edge = marker.get("line", {}).get("color", marker["color"])
    axes.plot(x, y, MARKER[symbol], color=edge, markersize=0.6 * marker["size"], alpha=marker.get("opacity", 1),
              markeredgewidth=0.9, clip_on=False, markerfacecolor="none" if hollow else marker["color"])  # fmt: skip


def _bar(axes: Axes, trace: dict[str, Any], ends: dict[float, float]) -> None:
    """A part of a row, from where the one before it ended."""
    for x, y, text in zip(_floats(trace["x"]), trace["y"], trace["text"], strict=True):
        start = ends.get(y, 0.0)
        colour, opacity = _colour(trace["marker"]["color"])
        axes.barh(y, x, trace["width"], left=start, color=colour, alpha=opacity)
        ends[y] = start + x
        axes.annotate(text, (ends[y], y), (3, 0), textcoords="offset points", va="center", fontsize=FONT)


def _box(axes: Axes, trace: dict[str, Any]) -> None:
    names = {"q1": "q1", "median": "med", "q3": "q3", "lowerfence": "whislo", "upperfence": "whishi"}
    line = {"color": trace["line"]["color"], "linewidth": 0.9}
    fill, opacity = _colour(trace["fillcolor"])
    axes.bxp(
        [{theirs: trace[ours][0] for ours, theirs in names.items()}], positions=trace["y"], widths=[trace["width"]],
        orientation="horizontal", manage_ticks=False, showfliers=False, patch_artist=True, whiskerprops=line,
        capprops=line, medianprops=line, boxprops={"edgecolor": line["color"], "facecolor": (fill, opacity)},
    )  # fmt: skip


def _heat(axes: Axes, trace: dict[str, Any]) -> None:
    colours = LinearSegmentedColormap.from_list("ours", trace["colorscale"])
    cells = [_floats(row) for row in trace["z"]]
    drawn = axes.pcolormesh(trace["x"], trace["y"], cells, cmap=colours, vmin=trace["zmin"], vmax=trace["zmax"])
    assert axes.figure is not None
    bar = axes.figure.colorbar(drawn, ax=axes, extend="max", pad=0.01)
    bar.set_label(trace["name"], fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT)


def _marks(axes: Axes, layout: dict[str, Any]) -> None:
    """Horizontal lines, and the words on them."""
    for shape in layout.get("shapes", ()):
        colour, opacity = _colour(shape["line"]["color"])
        axes.axhline(shape["y0"], color=colour, alpha=opacity, linewidth=0.8, linestyle=DASH[shape["line"]["dash"]])
    for note in layout.get("annotations", ()):
        y = 10 ** note["y"] if layout["yaxis"].get("type") == "log" else note["y"]
        below = note["yanchor"] == "top"
        axes.annotate(note["text"], (0, y), (3, -2 if below else 2), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=FONT, va="top" if below else "bottom")  # fmt: skip


def _names(axes: Axes, traces: list[dict[str, Any]]) -> None:
    """At the ends of the curves, none over another; the lit one, which is last, in its colour."""
    axes.autoscale_view()
    places: dict[str, tuple[float, float]] = {}
    for trace in traces:
        there = [(x, y) for x, y in zip(trace["x"], trace["y"], strict=True) if y is not None]
        if there and trace["name"] == trace["legendgroup"]:
            x, y = (axes.transScale + axes.transLimits).transform(there[-1])
            places[trace["name"]] = (float(x), float(y))
    gap = 1.2 * FONT / (72 * 0.8 * HEIGHT)
    kept = list(places)[-int(1 / gap) :]
    heights = apart([places[name][1] for name in kept], gap)
    for name, height in zip(kept, heights, strict=True):
        lit = name == traces[-1]["legendgroup"]
        axes.annotate(
            name, places[name], (1.03, height), xycoords="axes fraction", fontsize=FONT, va="center",
            color=traces[-1]["line"]["color"] if lit else "#5b6570", fontweight="bold" if lit else "normal",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 1,
                                               "shrinkB": 1},
        )  # fmt: skip


def _legend(drawn: Sheet, axes: Axes, figure: Figure) -> None:
    """Beside the figure, a line or a marker for each thing in it."""
    things: dict[str, Any] = {}
    for trace in figure["data"]:
        if trace["type"] == "scatter" and trace["name"] == trace["legendgroup"]:
            line, marker = trace.get("line", {}), trace.get("marker", {})
            symbols = marker.get("symbol") or [""]
            (things[trace["name"]],) = axes.plot(
                [], [], DASH[line.get("dash", "solid")] if line else "", color=line.get("color") or marker["color"],
                marker=MARKER.get(symbols[0].removesuffix("-open"), ""), markersize=4, linewidth=1.4,
            )  # fmt: skip
    if len(things) > 1:
        names = list(things)[::-1]  # the leader is drawn last
        drawn.legend([things[n] for n in names], names, loc="outside right upper", fontsize=FONT, frameon=False)


def _floats(values: list[float | None]) -> list[float]:
    return [math.nan if v is None else float(v) for v in values]


def _colour(text: str) -> tuple[str, float]:
    """#rrggbb and an opacity, of "#rrggbb" or "rgba(r,g,b,opacity)"."""
    found = re.fullmatch(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", text)
    return (f"#{int(found[1]):02x}{int(found[2]):02x}{int(found[3]):02x}", float(found[4])) if found else (text, 1.0)
