"""Maps side by side, a tile for each thing: amounts as colours, or which basin a start lies in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure as Sheet
from matplotlib.patches import Patch
from numpy.typing import NDArray

from .heat import SCALE
from .landscape import FONT, Array
from .palette import COLOURS, ink

DARK = LinearSegmentedColormap.from_list("heat", SCALE)
LOST, NOWHERE = "#3a3a3a", "#e9e9e9"


@dataclass(frozen=True, eq=False)
class Heat:
    """z[i, j] between edges y[i], y[i + 1] and x[j], x[j + 1]; nan is left white. Lines are levels of y, by name.

    best: the row and column of a cell that is framed.
    """

    title: str
    x: Array
    y: Array
    z: Array
    lines: Mapping[str, float]
    best: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Basin:
    """From each start (row, column): which goal is reached, −1 for none and −2 for a run that diverged; how soon."""

    title: str
    goal: NDArray[np.int64]
    soon: Array  # steps, as a part of all


def heats(
    tiles: Sequence[Heat], title: str, note: str, axes: tuple[str, str], amount: str, log: tuple[bool, bool]
) -> Sheet:
    """All on one scale of colours; y is labelled at powers of ten where it is logarithmic, x too."""
    sheet, boxes = _sheet(len(tiles), title, note, 1.05, 0.72)
    values = np.concatenate([tile.z[np.isfinite(tile.z)] for tile in tiles])
    low, high = (float(v) for v in np.quantile(values, (0.005, 0.98))) if len(values) else (0.0, 1.0)
    if len(values) and not low - values.min() > 0.01 * (high - low):
        low = float(values.min())  # no band of its own for what is as low as can be
    drawn: Any = None
    for i, (tile, box) in enumerate(zip(tiles, boxes, strict=True)):
        drawn = box.pcolormesh(tile.x, tile.y, tile.z, cmap=DARK.reversed(), vmin=low, vmax=high, rasterized=True)
        for way, on in zip(("x", "y"), log, strict=True):
            box.set(**{f"{way}scale": "log" if on else "linear"})
        for k, (name, at) in enumerate(tile.lines.items()):
            box.axhline(at, color="white", linewidth=2.2)
            box.axhline(
                at, color=COLOURS[1 - k], linewidth=1.2, linestyle=("-", "--")[k], label=name if i == 0 else None
            )
        if tile.best:
            (x0, x1), (y0, y1) = (edges[k : k + 2] for edges, k in zip((tile.x, tile.y), tile.best[::-1], strict=True))
            for colour, width, name in (("white", 3.4, None), (COLOURS[1], 1.8, None if i else "the best")):
                box.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=colour, linewidth=width, label=name)
        box.set_title(tile.title, fontsize=FONT, loc="left")
        box.minorticks_off()
    if any(tile.lines or tile.best for tile in tiles):
        sheet.legend(loc="upper right", bbox_to_anchor=(0.99, 0.995), fontsize=FONT, frameon=False, ncols=2)
    sheet.supxlabel(axes[0], fontsize=FONT, y=0.005, va="bottom")
    sheet.supylabel(axes[1], fontsize=FONT, x=0.005, ha="left")
    wide = sheet.get_figwidth()
    below, above = bool((values < low).any()), bool((values > high).any())
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
    place = (1 - 0.9 / wide, 0.14, 0.1 / wide, 0.58)
    bar = sheet.colorbar(drawn, cax=sheet.add_axes(place), extend=extend)
    bar.set_label(amount, fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT)
    return sheet


def basins(
    tiles: Sequence[Basin], view: tuple[tuple[float, float], tuple[float, float]],
    goals: Sequence[tuple[float, float]], title: str, note: str,
) -> Sheet:  # fmt: skip
    """A colour for each goal, paler the longer the way; none reached is grey, diverged dark with hatching."""
    sheet, boxes = _sheet(len(tiles), title, note, 0.0)
    extent = (*view[0], *view[1])
    for tile, box in zip(tiles, boxes, strict=True):
        colours = np.array([to_rgb(ink(k).colour) for k in range(max(1, len(goals)))])
        pale = (0.75 * tile.soon**0.7)[..., None]
        image = np.where(
            tile.goal[..., None] >= 0, colours[tile.goal % len(colours)] * (1 - pale) + pale, to_rgb(NOWHERE)
        )
        lost = tile.goal == -2
        image[lost] = to_rgb(LOST)
        box.imshow(image, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
        if lost.any():
            y, x = (np.linspace(*view[k], n) for k, n in zip((1, 0), lost.shape, strict=True))
            box.contourf(x, y, lost, levels=[0.5, 1.5], colors="none", hatches=["////"])
        if len(goals) <= 12:
            for at in goals:
                box.plot(*at, "+", color="white", markersize=9, markeredgewidth=3)
                box.plot(*at, "+", color="#111", markersize=7, markeredgewidth=1.2)
        box.set_title(tile.title, fontsize=FONT, loc="left")
    keys = [Patch(color=NOWHERE, label="no minimum reached"), Patch(facecolor=LOST, hatch="////", label="diverged")]
    sheet.legend(handles=keys, loc="upper right", bbox_to_anchor=(0.99, 0.995), fontsize=FONT, frameon=False, ncols=2)
    return sheet


def _sheet(count: int, title: str, note: str, right: float, below: float = 0.5) -> tuple[Sheet, list[Any]]:
    """Empty tiles under a title, at most four in a row, with inches for a scale at the right and for labels below."""
    columns = min(4, count)
    rows = -(-count // columns)
    high = 0.8 + below + 2.05 * rows
    wide = max(5.0, 2.1 * columns + 0.7)
    sheet = Sheet(figsize=(wide, high), dpi=110)
    FigureCanvasAgg(sheet)
    grid = sheet.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    sheet.subplots_adjust(
        left=0.66 / wide, right=0.985 - right / wide, bottom=below / high, top=1 - 0.85 / high, hspace=0.28, wspace=0.13
    )
    sheet.text(0.012, 1 - 0.16 / high, title, fontsize=11, fontweight="bold", va="center")
    sheet.text(0.012, 1 - 0.40 / high, note, fontsize=FONT, va="center", color="#444")
    boxes = list(grid.flat)
    for box in boxes:
        box.tick_params(labelsize=8, length=3)
    for k, box in enumerate(boxes):
        if k >= count:
            box.remove()
        elif k + columns >= count:  # the lowest of its column
            box.tick_params(labelbottom=True)
    return sheet, boxes[:count]
