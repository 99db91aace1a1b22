"""Rows for the tiny versions of tasks: in the shapes of the real ones, with something in them that can be learnt."""

import torch
from torch import Tensor

from .task import Data


def bright(*shape: int) -> tuple[Tensor, Tensor]:
    """Eight images of this shape and eight classes, which differ in the part that is bright."""
    y = torch.arange(8)
    x = torch.zeros(8, *shape)
    for row, part in zip(x.flatten(1), range(8), strict=True):
        row[part * len(row) // 8 : (part + 1) * len(row) // 8] = 1
    return x, y


def thrice(x: Tensor, y: Tensor) -> Data:
    """The same rows in all three parts: what is learnt of them shows."""
    return Data(x, y, x, y, x, y)
