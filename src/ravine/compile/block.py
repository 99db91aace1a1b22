"""A block: a map between a tensor and a stack of matrices, which matrix operations and their states are made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Block:
    """How a tensor of two dimensions or more is a stack of b matrices of r rows and c columns.

    A class of your own says `sizes`. Where elements keep their order in memory (heads of rows, experts) that is all.
    Where they do not (`moves = True`), it says `stack` and `unstack` too, which are run for matrix operations alone:
    elements stay where they are.
    """

    moves: ClassVar[bool] = False  # True: elements have other places in the stack, or it has more of them

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """b, r and c of a tensor of this shape, or ValueError where it is no such stack."""
        raise NotImplementedError

    def stack(self, x: Tensor) -> Tensor:
        """The matrices (b, r, c) of a tensor."""
        return x.reshape(self.sizes(x.shape))

    def unstack(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The tensor of this shape whose matrices these are."""
        return x.reshape(shape)


View = str | Block  # "first": one matrix; "last": a stack of those of the last two dimensions; or a block
