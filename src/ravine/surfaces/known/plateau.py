"""A hole in a plain."""

from torch import Tensor

from ravine.surfaces.surface import Surface


class Plateau(Surface):
    """Almost flat far away: gradients shrink with the third power of the distance, and steps that follow them too.

        f(x, y) = r² / (1 + r²)        r² = x² + y²

    Methods that divide by the gradient's size cross it at their own pace. The loss of Geman & McClure 1985.
    """

    name = "plateau"
    view = ((-5.0, 5.0), (-5.0, 5.0))
    start = (-3.5, 2.5)
    minima = ((0.0, 0.0),)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        far = x**2 + y**2
        return far / (1 + far)
