"""Several walkers on one ground: where each has been, and where it is; as a still, or step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from .landscape import FONT, Array, Land, contour, relief
from .palette import Ink
from .still import DASH, MARKER

GROUND = 0.70  # of the width; the rest is for names


@dataclass(frozen=True, eq=False)
class Trail:
    """The points of a walk, (steps + 1, 2), and its heights, (steps + 1,), in the units of the land."""

    name: str
    ink: Ink
    points: Array
    heights: Array


class Trails:
    """A picture of trails on a land, drawn to any step.

    title: in bold; note: what must be known to read it, such as how rates were chosen, under it.
    deep: as a relief. cloud: runs of one name differ by chance alone; an ellipse holds two standard deviations of them.
    """

    def __init__(
        self, land: Land, trails: Sequence[Trail], title: str, note: str, *, deep: bool = False, cloud: bool = False
    ):
        self.trails = [_seen(trail, land, 0.5 if deep else 20) for trail in trails]
        self.sheet = Sheet(figsize=(6.5, 5.2), dpi=110)
        self.canvas = FigureCanvasAgg(self.sheet)
        if deep:
            self.axes: Any = self.sheet.add_axes((0.0, 0.05, GROUND + 0.05, 0.85), projection="3d")
            relief(self.axes, land)
        else:
            self.axes = self.sheet.add_axes((0.075, 0.06, GROUND - 0.03, 0.80))
            contour(self.axes, land)
        self.sheet.text(0.02, 0.965, title, fontsize=11, fontweight="bold", va="center")
        self.sheet.text(0.02, 0.935, note, fontsize=FONT, va="top", color="#444")
        what = "height" if deep else "levels"
        self.sheet.text(0.985, 0.02, f"{what}: {land.title}", fontsize=8, ha="right", color="#444")
        self.count = self.sheet.text(0.985, 0.965, "", fontsize=FONT, va="center", ha="right", animated=True)
        self.deep = deep
        self.lines, self.heads = list[Any](), list[Any]()
        named = dict[str, Any]()
        widths = _widths([trail.name for trail in self.trails])
        empty = ([], [], []) if deep else ([], [])
        for trail in self.trails:
            dash, marker, colour = DASH[trail.ink.dash], MARKER[trail.ink.marker], trail.ink.colour
            style: dict[str, Any] = {"color": colour, "animated": True, "zorder": 5}
            wide, seen = (1.0, 1.0) if len(self.trails) <= 8 else (0.55, 0.25 if cloud else 0.8)
            wide *= widths[trail.name]
            edge = {"markeredgecolor": "white", "markeredgewidth": 0.3 if cloud else 0.7}
            (line,) = self.axes.plot(*empty, dash, linewidth=wide, alpha=seen, solid_capstyle="round", **style)
            (head,) = self.axes.plot(
                *empty, marker, markersize=3 if cloud else 6 if len(self.trails) <= 8 else 5, **edge, **style
            )
            self.lines.append(line)
            self.heads.append(head)
            if trail.name not in named:
                (named[trail.name],) = self.axes.plot(*empty, dash + marker, color=colour, markersize=5, linewidth=wide)
        self.clouds = dict[str, Any]()
        for trail in self.trails if cloud and not deep else ():
            if trail.name not in self.clouds:
                edge = [withStroke(linewidth=3, foreground="#222")]
                (self.clouds[trail.name],) = self.axes.plot(
                    [], [], color=trail.ink.colour, linewidth=1.4, path_effects=edge, animated=True, zorder=6
                )
        self.sheet.legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(GROUND + 0.055, 0.87),
                          fontsize=FONT, frameon=False, labelspacing=0.7, borderpad=0, handlelength=1.8)  # fmt: skip

    def to(self, step: int) -> None:
        """Set what is drawn to this step."""
        for trail, line, head in zip(self.trails, self.lines, self.heads, strict=True):
            walked = np.column_stack([trail.points, trail.heights])[: step + 1]
            if self.deep:
                line.set_data_3d(*walked.T)
                head.set_data_3d(*walked[-1:].T)
            else:
                line.set_data(*walked[:, :2].T)
                head.set_data(*walked[-1:, :2].T)
        for name, cloud in self.clouds.items():
            cloud.set_data(*ellipse(np.array([x.points[step] for x in self.trails if x.name == name])))
        self.count.set_text(f"step {step}")

    @property
    def moving(self) -> list[Any]:
        """What is drawn anew for each step."""
        return [*self.lines, *self.heads, *self.clouds.values(), self.count]

    def still(self, step: int) -> Sheet:
        """The whole sheet at a step."""
        for part in self.moving:
            part.set_animated(False)
        self.to(step)
        self.count.set_text(f"{step} step{'s' * (step != 1)}")
        return self.sheet

    def frames(self, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Pixels, (height, width, 3), at each of these steps; the ground is drawn once."""
        self.canvas.draw()
        ground = self.canvas.copy_from_bbox(self.sheet.bbox)
        for step in steps:
            self.canvas.restore_region(ground)
            self.to(step)
            for part in self.moving:
                (self.sheet if part is self.count else self.axes).draw_artist(part)
            yield np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


def _widths(names: Sequence[str]) -> dict[str, float]:
    """Of lines, in points, the first widest: what lies under a later one is seen on both of its sides."""
    each = list(dict.fromkeys(names))
    return dict(zip(each, np.linspace(4.0, 1.2, len(each)).tolist() if len(each) > 1 else [1.8], strict=True))


def ellipse(points: Array) -> Array:
    """The outline, (2, many), that is two standard deviations from the mean of points, (n, 2)."""
    there = points[np.isfinite(points).all(1)]
    if len(there) < 3:
        return np.empty((2, 0))
    spread, turn = np.linalg.eigh(np.cov(there.T))
    angle = np.linspace(0, 2 * np.pi, 61)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    return there.mean(0)[:, None] + turn @ (2 * np.sqrt(spread.clip(0))[:, None] * circle)


def _seen(trail: Trail, land: Land, far: float) -> Trail:
    """The same with a gap where it is farther from the middle than so many views: numbers that nothing can draw, or,
    since nothing cuts off lines in three dimensions, what is out of sight."""
    points, heights = trail.points.copy(), np.minimum(trail.heights, land.levels[-1])
    middle = np.array([land.x[0] + land.x[-1], land.y[0] + land.y[-1]]) / 2
    size = np.array([land.x[-1] - land.x[0], land.y[-1] - land.y[0]])
    lost = ~(np.abs(points - middle) <= far * size).all(1) | ~np.isfinite(heights)
    points[lost], heights[lost] = np.nan, np.nan
    return Trail(trail.name, trail.ink, points, heights)
