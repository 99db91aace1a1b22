"""A loss of two numbers as ground: lines of equal height, or a relief; pale, so that what walks on it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

Array = NDArray[np.float64]
PALE = LinearSegmentedColormap.from_list("ground", ["#c3d0dc", "#dde5ec", "#f1f4f6", "#fbfaf7"])  # from low to high
STROKE = "#93a1ae"
FONT = 8.5


@dataclass(frozen=True, eq=False)
class Land:
    """z[i, j] is the height at (x[j], y[i]), in units that make equal levels; minima and saddles are points."""

    x: Array
    y: Array
    z: Array
    title: str  # of the height
    minima: Sequence[tuple[float, float]] = ()
    saddles: Sequence[tuple[float, float]] = ()

    @property
    def levels(self) -> Array:
        """Heights at equal distances; the highest twentieth, which is often one wall, shares one colour."""
        low, high, most = (float(v) for v in np.nanquantile(self.z, (0, 0.95, 1)))
        return np.linspace(low, high if high > low else most, 17)


def contour(axes: Axes, land: Land) -> None:
    """From above: filled levels, their lines, a cross at each minimum and a small x at each saddle."""
    axes.contourf(land.x, land.y, land.z, land.levels, cmap=PALE, extend="max")
    axes.contour(land.x, land.y, land.z, land.levels, colors=STROKE, linewidths=0.5, linestyles="solid")
    for points, marker, size in ((land.minima, "+", 8), (land.saddles, "x", 4)):
        for at in points:
            axes.plot(*at, marker, color="#222", markersize=size, markeredgewidth=1.1)
    axes.set(xlim=(land.x[0], land.x[-1]), ylim=(land.y[0], land.y[-1]))
    axes.tick_params(labelsize=FONT, length=3)
    axes.locator_params(nbins=7)
    for side in axes.spines.values():
        side.set_color(STROKE)


def relief(axes: Any, land: Land) -> None:
    """From the side, in matplotlib's three dimensions."""
    top = land.levels[-1]
    z = np.fmin(land.z, top)
    # a stride that leaves no narrower tiles at the rim, whose missing corners matplotlib would fill with chance
    axes.plot_surface(*np.meshgrid(land.x, land.y), z, cmap=PALE, rstride=2, cstride=2, linewidth=0.12,
                      edgecolor="#b9c3cc", antialiased=True, zorder=1)  # fmt: skip
    axes.computed_zorder = False  # what walks on the ground is drawn over it
    axes.set(xlim=(land.x[0], land.x[-1]), ylim=(land.y[0], land.y[-1]), zlim=(land.levels[0], top))
    axes.tick_params(labelsize=8, pad=0)
    axes.locator_params(nbins=5)
    axes.view_init(elev=42, azim=-128)
    axes.set_box_aspect((4, 4, 2.6), zoom=1.05)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.pane.set_facecolor("white")
        axis.pane.set_edgecolor("#d5dbe0")
        axis._axinfo["grid"].update(color="#e6eaee", linewidth=0.5)
