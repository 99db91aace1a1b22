"""Ackley's function: a flat land of dents around one deep hole."""

import math

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface


class Ackley(Surface):
    """Small dents everywhere, and a hole whose walls grow steeper towards a point where there is no gradient.

        f(x, y) = 20 + e − 20 exp(−0.2 √((x² + y²) / 2)) − exp((cos 2πx + cos 2πy) / 2)

    Ackley 1987, A Connectionist Machine for Genetic Hillclimbing
    """

    name = "ackley"
    view = ((-4.0, 4.0), (-4.0, 4.0))
    start = (-2.7, 2.3)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        square = x**2 + y**2
        there = square > 0  # else the root has no gradient: none is taken
        far = torch.where(there, torch.where(there, square, 1.0).sqrt(), 0.0)
        waves = (torch.cos(2 * math.pi * x) + torch.cos(2 * math.pi * y)) / 2
        return 20 + math.e - 20 * torch.exp(-0.2 / math.sqrt(2) * far) - torch.exp(waves)
