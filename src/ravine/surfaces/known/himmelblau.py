"""Himmelblau's function: four equal minima."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Himmelblau(Surface):
    """Four minima with a loss of 0: which one is reached depends on the start, and on the method.

        f(x, y) = (x² + y − 11)² + (x + y² − 7)²

    Himmelblau 1972, Applied Nonlinear Programming
    """

    name = "himmelblau"
    view = ((-6.0, 6.0), (-6.0, 6.0))
    start = (0.5, -0.5)
    minima = (
        (3.0, 2.0),
        (-2.805118086953, 3.131312518251),
        (-3.779310253378, -3.283185991286),
        (3.58442834033, -1.848126526964),
    )
    saddles = (
        (0.086677504555, 2.884254701175),
        (-3.073025750764, -0.081353044288),
        (-0.127961346731, -1.953714980245),
        (3.385154183607, 0.073851879838),
    )
    log = True

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2
