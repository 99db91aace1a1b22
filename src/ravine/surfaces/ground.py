"""A surface as something to draw: heights on a grid, in the units in which they can be told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ravine.surfaces.given import losses as losses_at
from ravine.surfaces.path import Array
from ravine.surfaces.surface import Point, Surface
from ravine.visuals.landscape import Land


class Ground:
    """The view of a surface. Where it is `log`, a height is log₁₀ of what the loss is above the lowest in sight.

    starts: points that must be in sight too; the view is widened for those that are not.
    """

    def __init__(self, surface: Surface, starts: Sequence[Point] = (), fine: int = 161):
        sides = [widened(side, [at[k] for at in starts]) for k, side in enumerate(surface.view)]
        x, y, losses = _look(surface, sides, fine)
        usual = losses if sides == list(surface.view) else _look(surface, surface.view, fine)[2]
        if not np.isfinite(usual).any() or np.nanmin(losses) == np.nanmax(losses):
            same = "the same everywhere" if np.isfinite(usual).any() else "finite nowhere"
            raise ValueError(f"{surface.title()}: the loss is {same} in its view; there is nothing to be seen")
        known = [float(losses_at(surface, *torch.tensor(at, dtype=torch.float64))) for at in surface.minima]
        self.log, self.lowest = surface.log, min([float(np.nanmin(losses)), *known])
        above = losses[losses > self.lowest] - self.lowest
        self.typical = float(np.nanmedian(usual - self.lowest)) or float(np.median(above))
        above = f" above {self.lowest:.4g}" if abs(self.lowest) > 1e-9 else ""
        title = f"log₁₀ loss{above}" if self.log else "loss"
        self.land = Land(x, y, self.height(losses), title, surface.minima, surface.saddles)

    def height(self, losses: Array, least: float = 1e-4) -> Array:
        """Losses in the units of the picture; what is less than `least` of a typical one looks alike."""
        with np.errstate(all="ignore"):
            return np.log10(np.maximum(losses - self.lowest, least * self.typical)) if self.log else np.array(losses)


def widened(side: Point, at: Sequence[float]) -> Point:
    """From where to where a side goes so that these are in it, away from its ends."""
    low, high = min([side[0], *at]), max([side[1], *at])
    rim = 0.05 * (high - low)
    return low - rim * (low < side[0]), high + rim * (high > side[1])


def _look(surface: Surface, view: Sequence[Point], fine: int) -> tuple[Array, Array, Array]:
    """The points along both sides, and the losses between them; nan where they are not finite."""
    x, y = (np.linspace(*side, fine) for side in view)
    with torch.no_grad():
        z = losses_at(surface, *(torch.from_numpy(v) for v in np.meshgrid(x, y))).double().numpy()
    return x, y, np.where(np.isfinite(z), z, np.nan)
