"""Curves over time, and below them lanes: who did what, from when to when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from matplotlib.backends.backend_agg import FigureCanvasAgg  # an extra: this file is imported by what needs it
from matplotlib.figure import Figure as Sheet
from matplotlib.patches import Patch

from .charts import Curve
from .still import DASH, FONT

WIDTH, HEIGHT, LANE = 7.6, 3.2, 0.085  # inches


@dataclass(frozen=True)
class Stack:
    """The lanes of one thing: for each (start, stop, what)."""

    title: str
    lanes: Sequence[Sequence[tuple[float, float, str]]]


def lanes(
    curves: Sequence[Curve],
    stacks: Sequence[Stack],
    colours: Mapping[str, str],
    axes: tuple[str, str],
    title: str,
    note: str,
    end: float,
) -> Sheet:
    """A chart of all curves, and a stack of lanes for each thing, from 0 to `end`; `colours` says what is what."""
    heights = [HEIGHT, *(0.3 + LANE * len(x.lanes) for x in stacks)]
    sheet = Sheet(figsize=(WIDTH, 0.9 + sum(heights)), layout="constrained")
    FigureCanvasAgg(sheet)
    sheet.suptitle(title, fontsize=10, x=0.01, ha="left")
    top, *others = sheet.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for curve in curves:
        top.plot(curve.x, curve.y, DASH[curve.ink.dash], color=curve.ink.colour, label=curve.name, linewidth=1.6)
    heard = [float(y) for curve in curves for y in curve.y if isfinite(y) and y > 0]
    if heard and max(heard) > 3 * min(heard):
        top.set_yscale("log")
    top.set_xlabel(axes[0], fontsize=FONT)
    top.set_ylabel(axes[1], fontsize=FONT)
    top.grid(color="#e3e7eb", linewidth=0.6)
    top.legend(fontsize=FONT, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    for stack, box in zip(stacks, others, strict=True):
        for k, lane in enumerate(stack.lanes):
            for what, colour in colours.items():
                spans = [(a, min(b, end) - a) for a, b, x in lane if x == what and a < end]
                box.broken_barh(spans, (-k - 0.42, 0.84), facecolors=colour, linewidth=0)
        box.set(xlim=(0, end), ylim=(0.6 - len(stack.lanes), 0.6), yticks=[])
        box.set_title(stack.title, fontsize=FONT, loc="left", pad=2)
    for box in (top, *others):
        box.spines[["top", "right"]].set_visible(False)
        box.tick_params(labelsize=FONT, length=3)
    for box in others[:-1]:
        box.set_xticklabels([])
    if others:
        others[-1].set_xlabel(note, fontsize=FONT)
        patches = [Patch(color=colour, label=what) for what, colour in colours.items()]
        others[0].legend(handles=patches, fontsize=FONT, frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return sheet
