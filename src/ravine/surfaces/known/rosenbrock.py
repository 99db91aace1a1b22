"""Rosenbrock's banana."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Rosenbrock(Surface):
    """A curved valley: easy to find, slow to follow.

        f(x, y) = (1 − x)² + b (y − x²)²

    steepness: b.

    Rosenbrock 1960, equation 10    https://doi.org/10.1093/comjnl/3.3.175
    """

    name = "rosenbrock"
    view = ((-2.0, 2.0), (-1.0, 3.0))
    start = (-1.2, 1.0)
    minima = ((1.0, 1.0),)
    log = True
    steepness: float = 100.0

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return (1 - x) ** 2 + self.steepness * (y - x**2) ** 2
