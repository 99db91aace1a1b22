"""A valley with a kink."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Absolute(Surface):
    """No gradient at the bottom, and everywhere else one that does not shrink: constant rates never come to rest.

    f(x, y) = |x| + 10 |y|
    """

    name = "absolute"
    view = ((-3.0, 3.0), (-1.5, 1.5))
    start = (-2.5, 0.95)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return x.abs() + 10 * y.abs()
