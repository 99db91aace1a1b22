"""Rastrigin's function: an egg box in a bowl."""

import math

import torch
from torch import Tensor

from ravine.surfaces.surface import Surface

# where the derivative of x² − 10 cos 2πx is 0 and the second one positive
VALLEYS = (0.0, 0.994958637652, 1.989912233710, 2.984855701039, 3.979783860301, 4.974691390895)
LINE = (*VALLEYS, *(-x for x in VALLEYS[1:]))


class Rastrigin(Surface):
    """A bowl full of minima, one near every pair of whole numbers: what a small step finds is the nearest.

        f(x, y) = 20 + x² − 10 cos 2πx + y² − 10 cos 2πy

    Rastrigin 1974; in this form Mühlenbein, Schomisch & Born 1991    https://doi.org/10.1016/S0167-8191(05)80052-3
    """

    name = "rastrigin"
    view = ((-5.12, 5.12), (-5.12, 5.12))
    start = (-3.4, 2.7)
    minima = tuple((x, y) for x in LINE for y in LINE)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 20 + x**2 - 10 * torch.cos(2 * math.pi * x) + y**2 - 10 * torch.cos(2 * math.pi * y)
