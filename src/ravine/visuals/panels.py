"""A few grounds side by side with trails and arrows on them: the pictures of textbooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet

from .landscape import FONT, Land, contour
from .palette import Ink
from .still import DASH
from .trails import Trail

Point = tuple[float, float]


@dataclass(frozen=True)
class Arrow:
    """From one point to another, with a name for the legend; dashed where it is only meant to be thought."""

    name: str
    ink: Ink
    start: Point
    end: Point
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Panel:
    """One ground: what is said over it, and what is drawn on it."""

    title: str
    land: Land
    trails: Sequence[Trail] = ()
    arrows: Sequence[Arrow] = ()
    letters: Sequence[tuple[str, Point]] = field(default=())


def panels(drawn: Sequence[Panel], title: str, note: str, high: float = 2.9, wide: float = 3.6) -> Sheet:
    """All in a row, under a title and a note."""
    below = 0.7 if any(len(x.trails) > 1 or x.arrows for x in drawn) else 0.3  # for legends
    total = high + 0.4 + below
    sheet = Sheet(figsize=(wide * len(drawn) + 0.4, total), dpi=110)
    FigureCanvasAgg(sheet)
    boxes = sheet.subplots(1, len(drawn), squeeze=False)[0]
    left, right = 0.14 / len(drawn), 1 - 0.05 / len(drawn)
    sheet.subplots_adjust(left=left, right=right, bottom=below / total, top=1 - 0.8 / total, wspace=0.16)
    sheet.text(0.012, 1 - 0.16 / total, title, fontsize=11, fontweight="bold", va="center")
    sheet.text(0.012, 1 - 0.40 / total, note, fontsize=FONT, va="center", color="#444")
    for panel, box in zip(drawn, boxes, strict=True):
        _panel(box, panel)
    return sheet


def _panel(box: Axes, panel: Panel) -> None:
    contour(box, panel.land)
    for trail in panel.trails:
        few = len(trail.points) <= 60
        box.plot(*trail.points.T, DASH[trail.ink.dash], color=trail.ink.colour, linewidth=1.5, label=trail.name,
                 marker="o" if few else None, markersize=2.6, zorder=4)  # fmt: skip
    for arrow in panel.arrows:
        style = {"color": arrow.ink.colour, "linewidth": 1.8, "linestyle": "--" if arrow.dashed else "-",
                 "shrinkA": 0, "shrinkB": 0, "mutation_scale": 13}  # fmt: skip
        box.annotate("", arrow.end, arrow.start, arrowprops={"arrowstyle": "-|>", **style}, zorder=5)
        box.plot([], [], "--" if arrow.dashed else "-", color=arrow.ink.colour, linewidth=1.8, label=arrow.name)
    for text, at in panel.letters:
        box.plot(*at, "o", color="#222", markersize=4, zorder=6)
        box.annotate(text, at, (-5, 5), textcoords="offset points", fontsize=FONT + 1, ha="right",
                     zorder=6)  # fmt: skip
    box.set_title(panel.title, fontsize=FONT + 0.5, loc="left")
    if len(panel.trails) > 1 or panel.arrows:
        box.legend(fontsize=FONT, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.07), borderpad=0,
                   ncols=2 if panel.arrows else 1, columnspacing=1.2)  # fmt: skip
