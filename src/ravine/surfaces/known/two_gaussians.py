"""A bowl with two dents."""

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface


class TwoGaussians(Surface):
    """A wide bowl with two dents: Momentum may run through the near one, and a small change of start decides.

        f(x, y) = x² + y² − 3 exp(−((x − 1)² + y²) / 0.2) − 2 exp(−((x + 1)² + y²) / 0.2)

    Dupont 2018, "Interactive Visualization of Optimization Algorithms in Deep Learning"    https://emiliendupont.github.io
    """

    name = "two-gaussians"
    view = ((-2.2, 2.2), (-2.2, 2.2))
    start = (-0.6, 1.8)
    minima = ((0.936300634011, 0.0), (-0.90531789916, 0.0))
    saddles = ((-0.068602436708, 0.0),)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        right = 3 * torch.exp(-((x - 1) ** 2 + y**2) / 0.2)
        left = 2 * torch.exp(-((x + 1) ** 2 + y**2) / 0.2)
        return x**2 + y**2 - right - left
