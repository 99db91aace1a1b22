"""Beale's function: a flat valley between sharp peaks."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Beale(Surface):
    """Steep walls at the corners, a curved flat valley, one minimum; the first of the two classic animations.

        f(x, y) = (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²

    Beale 1958, "On an iterative method for finding a local minimum of a function of more than one variable"
    """

    name = "beale"
    view = ((-4.5, 4.5), (-4.5, 4.5))
    start = (1.0, 1.5)
    minima = ((3.0, 0.5),)
    saddles = ((0.0, 1.0), (0.100537937324, -2.644513585023))
    log = True

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        xy = x * y
        return (1.5 - x + xy) ** 2 + (2.25 - x + xy * y) ** 2 + (2.625 - x + xy * y * y) ** 2
