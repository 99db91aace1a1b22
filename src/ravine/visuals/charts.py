"""Charts side by side, each with some curves, on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg  # an extra: this file is imported by what needs it
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from .palette import Ink
from .still import DASH, FONT


@dataclass(frozen=True, eq=False)
class Curve:
    """One of them: a line, a dotted one, or points; NaN is a gap, and without a name it is in no legend."""

    name: str
    ink: Ink
    x: NDArray[np.generic]
    y: NDArray[np.generic]
    dots: bool = False
    points: bool = False


@dataclass(frozen=True, eq=False)
class Chart:
    """Curves over one axis; `log` says which axes are logarithmic, `level` is a height with its name."""

    title: str
    x: str
    curves: Sequence[Curve]
    log: tuple[bool, bool] = (False, False)
    level: tuple[str, float] | None = None


def charts(charts: Sequence[Chart], title: str = "") -> Sheet:
    """All charts in a row."""
    sheet = Sheet(figsize=(4.6 * len(charts), 3.4), layout="constrained")
    FigureCanvasAgg(sheet)
    if title:
        sheet.suptitle(title, fontsize=10, x=0.01, ha="left")
    for axes, chart in zip(sheet.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
        axes.set_title(chart.title, fontsize=10, loc="left")
        axes.set_xlabel(chart.x, fontsize=FONT)
        for side, log in zip("xy", chart.log, strict=True):
            if log:
                axes.set(**{f"{side}scale": "log"})
                axis = getattr(axes, f"{side}axis")
                axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
                axis.set_minor_formatter(NullFormatter())
        for curve in chart.curves:
            style = {"color": curve.ink.colour, "label": curve.name or None}
            if curve.points:
                axes.plot(curve.x, curve.y, ".", markersize=3, alpha=0.6, **style)
            else:
                dash = ":" if curve.dots else DASH[curve.ink.dash]
                axes.plot(curve.x, curve.y, linestyle=dash, linewidth=1.2 if curve.dots else 1.7, **style)
        if chart.level:
            name, height = chart.level
            axes.axhline(height, color="#555555", linewidth=0.8, linestyle="--")
            axes.annotate(f"{name} {height:g}", (1, height), (-3, 2), xycoords=("axes fraction", "data"),
                          textcoords="offset points", ha="right", va="bottom", fontsize=FONT)  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e3e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=FONT, length=3)
        axes.legend(fontsize=FONT, frameon=False)
    return sheet
