"""A block: a map between a tensor and a stack of matrices, which matrix operations and their states are made for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Block:
    """How a tensor of two dimensions or more is a stack of b matrices of r rows and c columns.

    A class of your own says `sizes`. Where elements keep their order in memory (heads of rows, experts) that is all.
    Where they do not (`moves = True`), it says `stack` and `unstack` too, which are run for matrix operations alone:
    elements stay where they are.
    """

    moves: ClassVar[bool] = False  # True: elements have other places in the stack, or it has more of them
    least: ClassVar[int] = 2  # tensors of fewer dimensions are one column

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """b, r and c of a tensor of this shape, or ValueError where it is no such stack."""
        raise NotImplementedError

    def stack(self, x: Tensor) -> Tensor:
        """The matrices (b, r, c) of a tensor."""
        return x.reshape(self.sizes(x.shape))

    def unstack(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The tensor of this shape whose matrices these are."""
        return x.reshape(shape)


@dataclass(frozen=True)
class Flat(Block):
    """The whole tensor as one column of all its numbers, or as columns of at most n.

    Columns of one tensor have one length, the smallest that makes as few of them; the last is filled up with zeros.
    """

    n: int | None = None
    least: ClassVar[int] = 0

    def __post_init__(self):
        if self.n is not None and self.n < 1:
            raise ValueError(f"Flat: n is {self.n}; it must be 1 or more")

    @property
    def moves(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of several columns the last may have more places than elements."""
        return self.n is not None

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        count = math.prod(shape)
        blocks = 1 if self.n is None else max(1, -(-count // self.n))
        return blocks, -(-count // blocks), 1

    def stack(self, x: Tensor) -> Tensor:
        b, r, _ = self.sizes(x.shape)
        return pad(x.reshape(-1), (0, b * r - x.numel())).reshape(b, r, 1)

    def unstack(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x.reshape(-1)[: math.prod(shape)].reshape(shape)


View = str | Block  # "first": one matrix; "last": a stack of those of the last two dimensions; or a block
