"""A plane with the loss over it and paths on it; beside it, what of the paths the plane does not show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg  # an extra: this file is imported by what needs it
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure as Sheet
from matplotlib.ticker import LogFormatterSciNotation, NullFormatter
from numpy.typing import NDArray

from .heat import SCALE
from .palette import Ink
from .still import DASH, FONT, MARKER

Array = NDArray[np.float64]
LEVELS = 24


@dataclass(frozen=True, eq=False)
class Walk:
    """A path: its nearest points of the plane, and at each the loss of the path, of the plane, and their distance."""

    name: str
    ink: Ink
    steps: Sequence[int]
    points: Array  # (snapshots, 2)
    losses: Array
    beneath: Array
    away: Array


def plane(x: Array, y: Array, z: Array, trails: Sequence[Walk], axes: tuple[str, str], title: str) -> Sheet:
    """`z[i, j]` is the loss at x[j], y[i]. Both axes have the same unit, so angles are as they are.

    Levels grow by equal factors where no loss is 0 or less, and end at three times the largest loss of a path; beyond,
    the colour stays. Where a path begins there is a ring, where it ends its marker.
    """
    sheet = Sheet(figsize=(9, 4.6), layout="constrained")
    FigureCanvasAgg(sheet)
    sheet.suptitle(title, fontsize=10, x=0.01, ha="left")
    mosaic = sheet.subplot_mosaic([["map", "loss"], ["map", "away"]], width_ratios=[1.9, 1])
    chart, loss, away = (mosaic[name] for name in ("map", "loss", "away"))

    seen = np.where(np.isfinite(z), z, np.inf)
    top = 3 * max(float(np.max([*t.losses, *t.beneath])) for t in trails)
    low = float(min(seen.min(), *(t.beneath.min() for t in trails)))
    log = low > 0 and top > 3 * low
    levels = np.geomspace(low, top, LEVELS) if log else np.linspace(low, top, LEVELS)
    norm = LogNorm(low, top) if log else Normalize(low, top)
    colours = LinearSegmentedColormap.from_list("ours", SCALE)
    drawn = chart.contourf(x, y, np.minimum(seen, 2 * top), levels, cmap=colours, norm=norm, extend="max", alpha=0.75)
    chart.contour(x, y, np.minimum(seen, 2 * top), levels, colors="white", linewidths=0.35, alpha=0.6)
    bar = sheet.colorbar(drawn, cax=chart.inset_axes((1.02, 0, 0.03, 1)))
    ticks = [v for v in (a * 10.0**b for b in range(-9, 9) for a in (1, 2, 5)) if low <= v <= top]
    bar.set_ticks(ticks if log and len(ticks) > 1 else levels[::6].tolist())
    bar.ax.yaxis.set_major_formatter(lambda v, _: f"{v:.3g}")
    bar.ax.tick_params(labelsize=FONT)
    bar.set_label("loss", fontsize=FONT)
    chart.set_aspect("equal")
    chart.set_xlabel(axes[0], fontsize=FONT)
    chart.set_ylabel(axes[1], fontsize=FONT)

    for t in trails:
        colour, dash, marker = t.ink.colour, DASH[t.ink.dash], MARKER[t.ink.marker]
        chart.plot(*t.points.T, color="white", linewidth=3.2, solid_capstyle="round")
        chart.plot(*t.points.T, color=colour, linestyle=dash, linewidth=1.8, label=t.name)
        chart.plot(*t.points.T, ".", color=colour, markersize=2.5)
        chart.plot(*t.points[0], "o", color="white", markeredgecolor="black", markersize=6)
        chart.plot(*t.points[-1], marker, color=colour, markeredgecolor="white", markersize=8)
        loss.plot(t.steps, t.losses, color=colour, linestyle=dash, linewidth=1.4)
        loss.plot(t.steps, t.beneath, color=colour, linestyle=":", linewidth=1.4)
        away.plot(t.steps, t.away, color=colour, linestyle=dash, linewidth=1.4)
    loss.plot([], [], color="black", linewidth=1.4, label="of the weights")
    loss.plot([], [], color="black", linestyle=":", linewidth=1.4, label="of the plane")
    chart.legend(fontsize=FONT, loc="best", framealpha=0.9)
    loss.legend(fontsize=FONT, frameon=False)
    loss.set_ylabel("loss", fontsize=FONT)
    if log:
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(LogFormatterSciNotation())
        loss.yaxis.set_minor_formatter(NullFormatter())
    away.set_ylabel("distance from the plane", fontsize=FONT)
    away.set_xlabel("step", fontsize=FONT)
    away.set_ylim(bottom=0)
    for each in (loss, away):
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="#e3e7eb", linewidth=0.6)
    for each in (chart, loss, away):
        each.tick_params(labelsize=FONT, length=3)
    return sheet
