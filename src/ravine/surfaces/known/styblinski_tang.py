"""The function of Styblinski and Tang: four minima, one of them the deepest."""

from torch import Tensor

from ravine.surfaces.surface import Surface

DEEP, SHALLOW, BETWEEN = -2.903534027771, 2.746802770991, 0.156731256780


class StyblinskiTang(Surface):
    """Four valleys, and only one is the deepest: −78.3323 at (−2.9035, −2.9035).

        f(x, y) = ½ (x⁴ − 16x² + 5x + y⁴ − 16y² + 5y)

    Styblinski & Tang 1990    https://doi.org/10.1016/0893-6080(90)90029-K
    """

    name = "styblinski-tang"
    view = ((-4.5, 4.5), (-4.5, 4.5))
    start = (0.5, 0.0)
    minima = ((DEEP, DEEP), (DEEP, SHALLOW), (SHALLOW, DEEP), (SHALLOW, SHALLOW))
    saddles = ((DEEP, BETWEEN), (BETWEEN, DEEP), (SHALLOW, BETWEEN), (BETWEEN, SHALLOW))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (x**4 - 16 * x**2 + 5 * x + y**4 - 16 * y**2 + 5 * y)
