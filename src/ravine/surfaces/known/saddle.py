"""The saddle: a minimum along x, a maximum along y."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Saddle(Surface):
    """Up one way, down the other, and flat in between; the second of the two classic animations.

        f(x, y) = x² − y²

    It has no minimum, so every method leaves at last; how long it lingers is what is seen. `bounded-saddle` has minima.
    """

    name = "saddle"
    view = ((-1.5, 1.5), (-1.5, 1.5))
    start = (-1.0, -0.001)
    saddles = ((0.0, 0.0),)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return x**2 - y**2
