"""The six-hump camel."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Camel(Surface):
    """Six minima in three pairs, each at its own height; the lowest is −1.0316.

        f(x, y) = (4 − 2.1x² + x⁴/3) x² + xy + (4y² − 4) y²

    Dixon & Szegő 1978, Towards Global Optimisation 2
    """

    name = "camel"
    view = ((-2.1, 2.1), (-1.2, 1.2))
    start = (1.9, 1.0)
    minima = (
        (0.0898420131, -0.712656403021),
        (-0.0898420131, 0.712656403021),
        (1.70360671497, -0.796083568673),
        (-1.70360671497, 0.796083568673),
        (1.60710475292, 0.568651454884),
        (-1.60710475292, -0.568651454884),
    )
    saddles = (
        (0.0, 0.0),
        (1.109205336805, -0.76826809251),
        (-1.109205336805, 0.76826809251),
        (1.296070267167, 0.605084388039),
        (-1.296070267167, -0.605084388039),
        (1.63806798419, 0.228674069044),
        (-1.63806798419, -0.228674069044),
    )
    log = True

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2
