"""How tensors are stacks of matrices: `blocks=Heads(12)`, for rules with matrix operations that have this field.

A rule takes one where it has a field `blocks: Block | None = None`, and each group may have its own. `rows`, `cols`,
states such as `zeros("r r")` and every matrix operation then speak of the matrices of the block, each by itself;
`norm(x)` and `total(x)` are of the whole tensor, `matrix_total(x)` of each matrix. A vector is one column always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import pad

from ravine.compile.block import Block as Block
from ravine.compile.block import Flat as Flat


def flat(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a tensor as one matrix: its first dimension by all others."""
    return shape[0], math.prod(shape[1:])


def parts(count: int, n: int, what: str) -> int:
    """How many rows or columns each of `n` parts has."""
    if n < 1 or count % n:
        raise ValueError(f"has {count} {what}, which are no {n} equal parts")
    return count // n


@dataclass(frozen=True)
class Heads(Block):
    """The heads of attention, each a matrix: the rows of a query, key or value cut into n parts.

    n: how many heads.
    of: "rows" as nn.Linear keeps queries, keys and values (n·d, c); "columns" for the output projection (r, n·d).
    """

    n: int
    of: Literal["rows", "columns"] = "rows"

    def __post_init__(self):
        if self.of not in ("rows", "columns"):
            raise ValueError(f"Heads: of is {self.of!r}; it must be 'rows' or 'columns'")

    @property
    def moves(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Columns of a head do not lie together."""
        return self.of == "columns"

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        r, c = flat(shape)
        return (self.n, r, parts(c, self.n, self.of)) if self.moves else (self.n, parts(r, self.n, self.of), c)

    def stack(self, x: Tensor) -> Tensor:
        b, r, c = self.sizes(x.shape)
        return x.reshape(r, b, c).transpose(0, 1) if self.moves else x.reshape(b, r, c)

    def unstack(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return (x.transpose(0, 1) if self.moves else x).reshape(shape)


@dataclass(frozen=True)
class QKV(Block):
    """Queries, keys and values in one tensor (3·d, c), as in GPT-2: three matrices, or three for each head.

    heads: how many matrices each of the three is cut into.
    """

    heads: int = 1

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        r, c = flat(shape)
        return 3 * self.heads, parts(r, 3 * self.heads, "rows"), c


@dataclass(frozen=True)
class Experts(Block):
    """A stack of matrices, as experts of a mixture are (e, r, c): the last two dimensions, for all before them."""

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        return math.prod(shape[:-2]), shape[-2], shape[-1]


@dataclass(frozen=True)
class Conv(Block):
    """Kernels of a convolution (out, in, k, …).

    form: "flat", one matrix out × in·k·…, as unfolding makes of it; "positions", a matrix out × in for each place in
        the kernel.
    """

    form: Literal["flat", "positions"] = "flat"

    def __post_init__(self):
        if self.form not in ("flat", "positions"):
            raise ValueError(f"Conv: form is {self.form!r}; it must be 'flat' or 'positions'")

    @property
    def moves(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Weights of one place do not lie together."""
        return self.form == "positions"

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        return (math.prod(shape[2:]), shape[0], shape[1]) if self.moves else (1, *flat(shape))

    def stack(self, x: Tensor) -> Tensor:
        b, r, c = self.sizes(x.shape)
        return x.reshape(r, c, b).movedim(-1, 0) if self.moves else x.reshape(b, r, c)

    def unstack(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return (x.movedim(0, -1) if self.moves else x).reshape(shape)


@dataclass(frozen=True)
class Partition(Block):
    """A large matrix cut into blocks of at most n × n, as Shampoo does where factors would be too large.

    Blocks of one tensor have one size, the smallest that makes as few of them. Where it does not divide the matrix,
    the last ones are filled up with zeros for matrix operations, and what these leave there is dropped. That is exact
    where zero rows and columns of the gradient change nothing else: for factors g gᵀ, for orthogonal factors, for sums
    of squares. `numel(p)` counts what is filled up.
    """

    n: int
    moves: ClassVar[bool] = True

    def __post_init__(self):
        if self.n < 1:
            raise ValueError(f"Partition: n is {self.n}; it must be 1 or more")

    def cut(self, count: int) -> tuple[int, int]:
        """How many blocks so many rows or columns are, and how large each is."""
        blocks = max(1, -(-count // self.n))
        return blocks, -(-count // blocks)

    def sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        (down, r), (across, c) = map(self.cut, flat(shape))
        return down * across, r, c

    def stack(self, x: Tensor) -> Tensor:
        rows, cols = flat(x.shape)
        (down, r), (across, c) = self.cut(rows), self.cut(cols)
        whole = pad(x.reshape(rows, cols), (0, across * c - cols, 0, down * r - rows))
        return whole.reshape(down, r, across, c).transpose(1, 2).reshape(-1, r, c)

    def unstack(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        rows, cols = flat(shape)
        (down, r), (across, c) = self.cut(rows), self.cut(cols)
        whole = x.reshape(down, across, r, c).transpose(1, 2).reshape(down * r, across * c)
        return whole[:rows, :cols].reshape(shape)
