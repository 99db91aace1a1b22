"""A quadratic that can be followed by hand."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Quadratic(Surface):
    """The quadratic of textbooks: the gradient at (1, 1) is (12, 8).

    f(x, y) = 5x² + 2xy + 3y²
    """

    name = "quadratic"
    start = (1.0, 1.0)
    view = ((-1.5, 1.5), (-1.5, 1.5))
    minima = ((0.0, 0.0),)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 5 * x**2 + 2 * x * y + 3 * y**2
