"""The long valley that this library is named after."""

from __future__ import annotations

import math

from torch import Tensor

from ravine.surfaces.surface import Surface


class Ravine(Surface):
    """A long valley, turned so that no axis runs along it: steep across, almost flat along.

        f(x, y) = ½ (u² + κ v²)        u = x cos α + y sin α        v = y cos α − x sin α

    condition: κ, how much steeper it is across than along.
    angle: α, of the valley to the x axis, in degrees. At 0 the axes run along and across, and methods with a rate for
        each coordinate have an easy time; at 30 they do not.

    Gradient descent oscillates across it while it creeps along; Momentum adds up what stays and cancels what changes
    sign (Sutton 1986; Qian 1999    https://doi.org/10.1016/S0893-6080(98)00116-6).
    """

    name = "ravine"
    view = ((-2.2, 2.2), (-1.65, 1.65))
    start = (-1.9, -0.7)
    minima = ((0.0, 0.0),)
    log = True
    ranges = {"condition": "[1, inf)", "angle": "[-180, 180]"}
    condition: float = 100.0
    angle: float = 30.0

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        return 0.5 * ((c * x + s * y) ** 2 + self.condition * (c * y - s * x) ** 2)
