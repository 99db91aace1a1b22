"""Booth's function: a plain bowl, turned and out of the centre."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Booth(Surface):
    """A quadratic bowl, nine times as steep across as along, turned by 45 degrees.

    f(x, y) = (x + 2y − 7)² + (2x + y − 5)²
    """

    name = "booth"
    view = ((-6.0, 8.0), (-5.0, 9.0))
    start = (-5.0, 3.0)
    minima = ((1.0, 3.0),)
    log = True

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2
