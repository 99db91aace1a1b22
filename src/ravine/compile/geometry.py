"""Where the numbers of a tensor lie: which part of the whole tensor is here, and how it is a matrix.

All that ravine knows of distributed tensors (DTensor) is in this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ravine.compile.block import Block, View
from ravine.compile.expr import BATCH, COL, FULL, HOST, ROW, SCALAR, Expr, Shape

KEPT: dict[Shape, str] = {
    FULL: "brc",
    ROW: "br",
    COL: "bc",
    BATCH: "b",
    SCALAR: "",
}  # which sizes an array of this shape has


def local(x: Tensor) -> Tensor:
    """The part of a distributed tensor that is on this process; any other tensor as it is."""
    return getattr(x, "_local_tensor", x)


def real(x: Tensor) -> Tensor:
    """The local part, a complex tensor as pairs of real numbers."""
    x = local(x)
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def gradient(g: Tensor, p: Tensor) -> Tensor:
    """The local part of a gradient, placed as its parameter is: a partial sum is added up over the processes."""
    (mesh, placed), (own, to) = placing(g), placing(p)
    if mesh is not None and mesh == own and placed != to:
        other: Any = g
        g = other.redistribute(placements=to)
    x: Any = local(g)
    return x.wait() if hasattr(x, "wait") else x  # of a collective that is under way


def gathered(x: Tensor) -> Tensor:
    """The whole of a distributed tensor, in every process; any other as it is."""
    return x.full_tensor() if local(x) is not x else x  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def placing(x: Tensor) -> tuple[Any, tuple[Any, ...]]:
    """The mesh of a distributed tensor and its placements there; of any other None and ()."""
    return getattr(x, "device_mesh", None), tuple(getattr(x, "placements", ()))


def letters(dim: int, view: View = "first") -> str:
    """What each dimension of a tensor counts when it is seen as b matrices of r rows and c columns.

    "first": one matrix; its rows are the first dimension. "last": the last two dimensions, and all before are a batch.
    A block says it. A vector is one column.
    """
    if dim < 2:
        return "r" * dim
    return "b" * (dim - 2) + "rc" if view == "last" else "r" + "c" * (dim - 1)


def sizes(shape: Sequence[int], view: View = "first") -> dict[str, int]:
    """How a tensor of this shape is b matrices of r rows and c columns."""
    if isinstance(view, Block) and len(shape) >= view.least:
        return dict(zip("brc", view.sizes(shape), strict=True))
    size = {"b": 1, "r": 1, "c": 1}
    for letter, n in zip(letters(len(shape), view), shape, strict=True):
        size[letter] *= n
    return size


def extent(p: Tensor, shape: Shape, view: View = "first") -> list[int]:
    """The shape of an array of this kind as it is computed with: of elements that a block moves, as they lie."""
    if shape == FULL and moves(view):
        view = "first"
    size = sizes(p.shape, view)
    if shape in (SCALAR, HOST):
        return []
    if shape in (FULL, ROW, COL, BATCH):
        return [*batch_of(p, view), size["r"] if shape in (FULL, ROW) else 1, size["c"] if shape in (FULL, COL) else 1]
    return [*batch_of(p, view), *(size_of(token, size) for token in shape or ())]


def batch_of(p: Tensor, view: View = "first") -> list[int]:
    """The dimension that a batch of matrices has before its rows and columns, if a tensor is one."""
    return [] if view == "first" else [sizes(p.shape, view)["b"]]


def moves(view: View) -> bool:
    """True where matrix work sees elements in other places than they lie in."""
    return isinstance(view, Block) and view.moves


def stack(x: Tensor, p: Tensor, view: View) -> Tensor:
    """Elements of a parameter, as a kernel has them, as matrix work has them."""
    if not (isinstance(view, Block) and view.moves):
        return x
    return view.stack(x.reshape(p.shape)) if p.dim() >= view.least else x.reshape(1, -1, 1)


def stacked(read: Callable[[Expr], Tensor], p: Tensor, view: View) -> Callable[[Expr], Tensor]:
    """A reader of leaves, with elements as matrix work has them."""
    return lambda x: stack(read(x), p, view) if x.shape == FULL else read(x)


def unstack(x: Tensor, p: Tensor, view: View) -> Tensor:
    """The inverse of stack."""
    if not (isinstance(view, Block) and view.moves):
        return x
    return (view.unstack(x, p.shape) if p.dim() >= view.least else x).reshape(extent(p, FULL, view))


def size_of(token: str, size: Mapping[str, int]) -> int:
    """How large a size in a shape is: of a letter, a whole number, or the smallest of several."""
    return min(int(x) if x.isdigit() else size[x] for x in token.split("&"))


@dataclass(frozen=True, eq=False)
class Extent:
    """The part of a tensor that is on this process.

    Its elements are numbered as in the whole tensor, row after row, so that what depends on an element's number (noise,
    stochastic rounding) is the same under every placement.
    """

    whole: tuple[int, ...]  # sizes of the whole tensor; a complex one ends with 2
    index: tuple[Sequence[int], ...]  # of each dimension: which of the whole tensor's indices are here
    mesh: Any = None  # of a distributed tensor
    placements: tuple[Any, ...] = ()  # on that mesh

    @classmethod
    def of(cls, x: Tensor) -> Extent:
        """The extent of a tensor; raises ValueError for a distributed one of which it is not known what is here."""
        pair = (2,) if x.is_complex() else ()
        if local(x) is x:
            return cls((*x.shape, *pair), tuple(map(range, (*x.shape, *pair))))
        mesh, placements = placing(x)
        for place in placements:
            if not (place.is_replicate() or hasattr(place, "dim")):
                raise ValueError(f"is placed as {place}: these are not its values yet; redistribute() it first")
        index = [here(n, [(a, x) for a, x in enumerate(placements) if at(x, d)], mesh) for d, n in enumerate(x.shape)]
        found = cls((*x.shape, *pair), (*index, *map(range, pair)), mesh, placements)
        if found.shape != (*local(x).shape, *pair) and mesh.get_coordinate() is not None:
            raise ValueError(
                f"has {tuple(local(x).shape)} of {tuple(x.shape)} on this process, where torch would place "
                f"{found.shape[: x.dim()]} by {', '.join(map(repr, placements))}: which part it is cannot be known"
            )
        return found

    def elsewhere(self, axis: int, rank: int) -> Extent:
        """The part of another process of an axis of the mesh."""
        coordinate = list(self.mesh.get_coordinate())
        coordinate[axis] = rank
        cuts = [[(a, x) for a, x in enumerate(self.placements) if at(x, d)] for d in range(len(self.whole))]
        index = [here(n, cut, self.mesh, coordinate) for n, cut in zip(self.whole, cuts, strict=True)]
        return Extent(self.whole, tuple(index), self.mesh, self.placements)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the local part."""
        return tuple(map(len, self.index))

    @cached_property
    def complete(self) -> bool:
        """True if every process of the mesh has the whole tensor."""
        return not self.cut()

    def cut(self, shape: Shape = FULL, view: View = "first") -> list[int]:
        """The axes of the mesh along which an array of this shape is cut: the others have the same of it."""
        kept, named = KEPT.get(shape, "brc"), letters(len(self.whole), view)
        return [
            axis
            for axis, x in enumerate(self.placements)
            if not x.is_replicate() and self.mesh.size(axis) > 1 and named[x.dim] in kept
        ]

    def seen(self, view: View) -> View:
        """How kernels see what is here as a matrix: it may not be cut as a block cuts the whole."""
        return view if isinstance(view, str) or self.complete else "first"

    def crossed(self, of: Shape, to: Shape, view: View = "first") -> list[int]:
        """The axes of the mesh across which an array of one shape is reduced to another."""
        whole = self.cut(to, view)
        return [axis for axis in self.cut(of, view) if axis not in whole]

    @cached_property
    def runs(self) -> Tensor:
        """The stretches of the whole tensor that are here, in order, a line for each: the number of its first element,
        and how many."""
        whole, index = (*self.whole, 1), (*self.index, range(1))
        cut = next((d for d in reversed(range(len(whole))) if len(index[d]) != whole[d]), 0)
        inner = math.prod(whole[cut + 1 :])
        first, n = (torch.tensor(x, device="cpu") * inner for x in zip(*together(index[cut]), strict=True))
        first = numbered(whole[:cut], index[:cut])[:, None] * whole[cut] * inner + first
        runs = torch.stack([first, n.expand_as(first)], -1).view(-1, 2)
        return runs[runs[:, 1] > 0]

    @property
    def offset(self) -> int | None:
        """The number of the first element, where all that follow are numbered one after the other; else None."""
        if self.shape == self.whole or not len(self.runs):
            return 0
        return int(self.runs[0, 0]) if len(self.runs) == 1 else None

    def numbers(self) -> Tensor:
        """The number of each local element in the whole tensor."""
        return numbered(self.whole, self.index)

    def like(self, x: Tensor, shape: Sequence[int], placements: Sequence[Any] | None = None) -> Tensor:
        """A local tensor as the part of a distributed one of this shape, placed as this is; of others, itself."""
        if self.mesh is None:
            return x
        from torch.distributed.tensor import DTensor

        size = torch.Size(shape)
        stride = torch.empty(size, device="meta").stride()
        placed = self.placements if placements is None else placements
        return DTensor.from_local(x, self.mesh, placed, run_check=False, shape=size, stride=stride)

    def placed(self, shape: Shape, view: View) -> tuple[Any, ...]:
        """The placements of an array of this shape beside the tensor: numbers of rows are cut where rows are."""
        if shape == FULL or self.mesh is None:
            return self.placements
        from torch.distributed.tensor import Replicate

        cut = self.cut(shape, view)
        return tuple(x if axis in cut else Replicate() for axis, x in enumerate(self.placements))

    def part(self, x: Tensor, shape: Shape, view: View) -> Tensor:
        """What is here of an array of this shape beside the whole tensor, with the tensor's dimensions."""
        if shape not in KEPT:
            return x
        x = x.reshape(self.sizes(shape, view))
        for d, (own, index) in enumerate(zip(self.kept(shape, view), self.index, strict=True)):
            if own and len(index) != self.whole[d]:
                x = x.index_select(d, torch.tensor(list(index), dtype=torch.int64, device=x.device))
        return x

    def join(self, x: Tensor, shape: Shape, view: View) -> Tensor:
        """The inverse of part: every process gives what it has and takes all."""
        x = x.reshape(self.sizes_here(shape, view))
        return gathered(self.like(x, self.sizes(shape, view), self.placed(shape, view)))

    def sizes(self, shape: Shape, view: View) -> list[int]:
        """The sizes of such an array beside the whole tensor, with the tensor's dimensions."""
        return [n if own else 1 for own, n in zip(self.kept(shape, view), self.whole, strict=True)]

    def sizes_here(self, shape: Shape, view: View) -> list[int]:
        """The sizes of what is here of it."""
        return [n if own else 1 for own, n in zip(self.kept(shape, view), self.shape, strict=True)]

    def kept(self, shape: Shape, view: View) -> list[bool]:
        """Of each dimension of the tensor: does an array of this shape have it?"""
        return [letter in KEPT[shape] for letter in letters(len(self.whole), view)]

    def whole_blocks(self, size: int) -> bool:
        """True if every process has blocks of this many elements and no part of one, and torch would cut a tensor with
        one number for each block in the same places."""
        cuts = [(axis, x) for axis, x in enumerate(self.placements) if not x.is_replicate()]
        if not cuts:
            return True
        ((axis, place), *more) = cuts
        if more or not at(place, 0) or strided(place):
            return False
        row, parts = math.prod(self.whole[1:]), self.mesh.size(axis)
        blocks = -(-self.whole[0] * row // size)
        return -(-self.whole[0] // parts) * row == -(-blocks // parts) * size


def at(place: Any, d: int) -> bool:
    """True for a placement that cuts dimension d."""
    return getattr(place, "dim", None) == d


def strided(place: Any) -> bool:
    """True for a cut of FSDP2 through a dimension that tensor parallelism cuts too, on a later axis of the mesh."""
    return hasattr(place, "split_factor")


def here(n: int, cuts: Sequence[tuple[int, Any]], mesh: Any, rank: Sequence[int] | None = None) -> Sequence[int]:
    """Which of n indices are on this process, or on another, after these cuts: (axis of the mesh, placement)."""
    index: Sequence[int] = range(n)
    rank = mesh.get_coordinate() if rank is None else rank
    if rank is None:
        return range(0)
    for axis, place in cuts:
        parts = [chunk(index, place.split_factor, i) for i in range(place.split_factor)] if strided(place) else [index]
        parts = [chunk(part, mesh.size(axis), rank[axis]) for part in parts]
        index = parts[0] if len(parts) == 1 else [i for part in parts for i in part]
    return index


def numbered(sizes: Sequence[int], index: Sequence[Sequence[int]]) -> Tensor:
    """The numbers, row after row, of the elements of a tensor of these sizes that have these indices."""
    number = torch.zeros(1, dtype=torch.int64, device="cpu")
    for n, i in zip(sizes, index, strict=True):
        taken = torch.arange(i.start, i.stop, device="cpu") if isinstance(i, range) else number.new_tensor(i)
        number = (number[:, None] * n + taken).flatten()
    return number


def chunk(index: Sequence[int], count: int, which: int) -> Sequence[int]:
    """One of `count` parts, cut as by torch.chunk: the last ones may be shorter, or empty."""
    size = -(-len(index) // count)
    return index[which * size : (which + 1) * size]


def together(index: Sequence[int]) -> list[tuple[int, int]]:
    """The stretches without gaps: the first of each, and how many."""
    if isinstance(index, range):
        return [(index.start, len(index))]
    found: list[tuple[int, int]] = []
    for i in index:
        first, n = found[-1] if found else (i, 0)
        if i == first + n:
            found[-1:] = [(first, n + 1)]
        else:
            found.append((i, 1))
    return found or [(0, 0)]
