"""A surface as something to draw: heights on a grid, in the units in which they can be told apart."""

from __future__ import annotations

import numpy as np
import torch

from ravine.surfaces.path import Array
from ravine.surfaces.surface import Surface
from ravine.visuals.landscape import Land


class Ground:
    """The view of a surface. Where it is `log`, a height is log₁₀ of what the loss is above the lowest in sight."""

    def __init__(self, surface: Surface, fine: int = 161):
        (x0, x1), (y0, y1) = surface.view
        x, y = np.linspace(x0, x1, fine), np.linspace(y0, y1, fine)
        losses = surface.loss(*(torch.from_numpy(v) for v in np.meshgrid(x, y))).numpy()
        known = [float(surface.loss(*torch.tensor(at, dtype=torch.float64))) for at in surface.minima]
        self.log, self.lowest = surface.log, min([float(losses.min()), *known])
        self.floor = 1e-4 * float(np.median(losses - self.lowest))  # below it everything looks alike
        above = f" above {self.lowest:.4g}" if abs(self.lowest) > 1e-9 else ""
        title = f"log₁₀ loss{above}" if self.log else "loss"
        self.land = Land(x, y, self.height(losses), title, surface.minima, surface.saddles)

    def height(self, losses: Array) -> Array:
        """Losses in the units of the picture."""
        with np.errstate(all="ignore"):
            return np.log10(np.maximum(losses - self.lowest, self.floor)) if self.log else np.array(losses)
