"""The monkey saddle: three ways down, one for the tail."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class MonkeySaddle(Surface):
    """A saddle whose curvature is 0 in every direction: nothing but third derivatives leads away from it.

        f(x, y) = x³ − 3xy²

    Hilbert & Cohn-Vossen 1932, Anschauliche Geometrie, section 29
    """

    name = "monkey-saddle"
    view = ((-1.5, 1.5), (-1.5, 1.5))
    start = (1.2, 0.02)
    saddles = ((0.0, 0.0),)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return x**3 - 3 * x * y**2
