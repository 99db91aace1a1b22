"""A bowl that is long in one direction."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Bowl(Surface):
    """An elongated bowl along the axes: gradient descent first falls down the steep side, then turns; an L.

        f(x, y) = a x² + b y²

    long, steep: a and b.

    Methods with a rate for each coordinate go straight, since here the axes are those of the curvature. The numbers
    are those of Zhang et al., Dive into Deep Learning, sections 12.6 and 12.7    https://d2l.ai
    """

    name = "bowl"
    view = ((-6.0, 2.0), (-3.0, 3.0))
    start = (-5.0, -2.0)
    minima = ((0.0, 0.0),)
    long: float = 0.1
    steep: float = 2.0

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return self.long * x**2 + self.steep * y**2
