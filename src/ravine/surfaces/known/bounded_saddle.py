"""A saddle between two minima."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class BoundedSaddle(Surface):
    """The saddle with a floor: who leaves it arrives at one of two minima.

    f(x, y) = ½ x² − ½ y² + ¼ y⁴
    """

    name = "bounded-saddle"
    view = ((-1.5, 1.5), (-1.5, 1.5))
    start = (-1.2, 0.001)
    minima = ((0.0, 1.0), (0.0, -1.0))
    saddles = ((0.0, 0.0),)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * x**2 - 0.5 * y**2 + 0.25 * y**4
