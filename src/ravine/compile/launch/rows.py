"""Sparse gradients: the same kernels over the touched rows alone."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from ravine.compile.emit.llvm import COLUMNS
from ravine.compile.expr import FULL, HOST, MATRIX, REDUCE, Expr, walk
from ravine.compile.geometry import local
from ravine.compile.launch.base import Bound, Changed
from ravine.compile.launch.llvm import LLVM, c_array
from ravine.compile.launch.memory import lacks
from ravine.compile.launch.phases import Launch
from ravine.compile.launch.pieces import Pieces
from ravine.compile.launch.reference import Reference
from ravine.compile.plan import Plan


@dataclass
class Touched:
    """The part of one parameter that a sparse gradient reaches."""

    rows: Tensor  # which rows, in order, each once
    values: Tensor  # gradients: a matrix, a line for each row
    of: int  # how many rows the parameter has
    lines: Tensor | None = None  # the line of each row, where they are not in that order, or some rows came again
    several: Tensor | None = None  # which rows came several times, counted among those touched
    sums: Tensor | None = None  # and their gradients

    @property
    def width(self) -> int:
        """How many elements a row has."""
        return self.values.shape[1]

    @cached_property
    def places(self) -> Tensor:
        """The address of each row's gradient."""
        line, at = self.width * self.values.element_size(), self.values.data_ptr()
        lines = torch.arange(len(self.rows), device="cpu") if self.lines is None else self.lines
        places = lines * line + at
        if self.several is not None and self.sums is not None:
            places[self.several] = torch.arange(len(self.several), device="cpu") * line + self.sums.data_ptr()
        return places

    def gathered(self) -> Touched:
        """The same with the gradients in one matrix, a line for each row."""
        if self.lines is None:
            return self
        values = self.values.index_select(0, self.lines)
        if self.several is not None and self.sums is not None:
            values[self.several] = self.sums
        return Touched(self.rows, values, self.of)


class Sparse(Launch):
    """A launch whose gradients are sparse."""

    touched: Sequence[Touched] = ()

    @torch.no_grad()
    def place(self, grads: Sequence[Tensor]) -> bool:
        """Find the touched rows and lay the tables. Raises before anything has changed."""
        if any(g.layout is not torch.sparse_coo for g in grads):
            raise Changed("a gradient is not sparse")
        self.recognize(grads)
        for b in self.bound:
            self.check(b)
        self.touched = [self.reach(b, g) for b, g in zip(self.bound, grads, strict=True)]
        self.find()
        return True

    def reach(self, b: Bound, g: Tensor) -> Touched:
        """The rows that a gradient reaches."""
        return touched(b, g)

    def find(self) -> None:
        """Find where the touched rows lie."""

    def check(self, b: Bound) -> None:
        """Raise unless a row of this parameter is a stretch of memory."""
        for name, x in {"": b.p, **{f"its state {b.keys[k]} ": b.state[b.keys[k]] for k in self.keys}}.items():
            who = f"parameter {b.index} of shape {tuple(b.p.shape)} has a sparse gradient, and {name or 'it '}"
            if local(x) is not x:
                raise RuntimeError(f"{who}is distributed: give dense gradients")
            if not x.is_contiguous() or x.is_conj() or x.is_neg():
                raise RuntimeError(f"{who}does not lie row after row in memory; make it contiguous()")
            if lacks(x):
                raise RuntimeError(f"{who}has no memory for all of its elements: its storage was freed or made smaller")

    def end(self) -> None:
        super().end()
        self.touched = ()


class Rows(Sparse, Pieces):
    """Touched rows as the pieces of compiled kernels."""

    def find(self) -> None:
        device, pairs = self.bound[0].p.device, 2 if self.bound[0].p.is_complex() else 1
        counts = torch.tensor([len(t.rows) for t in self.touched], device=device)
        widths = [pairs * t.values.shape[1] for t in self.touched]
        self.tensor = torch.arange(len(counts), device=device).repeat_interleave(counts)
        self.lengths = self.each(widths)
        self.offsets = torch.cat([t.rows * n for t, n in zip(self.touched, widths, strict=True)])
        self.lay(torch.cat([self.lines_of(b, t) for b, t in zip(self.bound, self.touched, strict=True)], 1))

    def lines_of(self, b: Bound, t: Touched) -> Tensor:
        """The addresses of every touched row of a parameter: a line for each array."""
        arrays, g, n = [self.array(b, name) for name in list(self.types)[:-1]], t.values, t.values.shape[1]
        at = torch.tensor([[x.data_ptr(), x.element_size() * n] for x in [*arrays, g]], device=t.rows.device)
        rows = t.rows.expand(len(arrays) + 1, -1).clone()
        rows[-1] = torch.arange(len(t.rows), device=t.rows.device)
        return at[:, :1] + at[:, 1:] * rows


class LLVMRows(Sparse, LLVM):
    """On the CPU, where the kernel walks the rows itself: of each it is told the number and where its gradient lies."""

    by_row = True

    @property
    def ends(self) -> list[int]:
        """Where the touched elements of each tensor end, counted over all."""
        return self.base

    def reach(self, b: Bound, g: Tensor) -> Touched:
        return each_once(b, g)

    def find(self) -> None:
        pairs = 2 if self.bound[0].p.is_complex() else 1
        arrays = [name for name in self.types if name != "g"]
        for a, name in enumerate(arrays):
            for i, b in enumerate(self.bound):
                self.pointers[a * len(self.bound) + i] = self.array(b, name).data_ptr()
        widths = [pairs * t.width for t in self.touched]
        self.base = [0, *accumulate(len(t.rows) * n for t, n in zip(self.touched, widths, strict=True))]
        n, base, c = (COLUMNS.index(name) for name in ("n", "base", "c"))
        for i, width in enumerate(widths):
            at = i * len(COLUMNS)
            self.sizes[at + n] = self.base[i + 1] - self.base[i]
            self.sizes[at + base] = self.base[i]
            self.sizes[at + c] = width
        self.lists = c_array(ctypes.c_int64, [x.data_ptr() for t in self.touched for x in (t.rows, t.places)])
        self.rows = ctypes.addressof(self.lists)
        self.threads = 0  # share anew


@dataclass(eq=False, slots=True)
class Part(Bound):
    """The touched rows of a parameter, copied together."""

    rows: Tensor | None = None

    def numbers(self) -> Tensor:
        """The number of each element in the parameter."""
        assert self.rows is not None
        width = self.p.shape[1]
        return (self.rows.cpu()[:, None] * width + torch.arange(width, device="cpu")).flatten()


class ReferenceRows(Sparse, Reference):
    """On any device: copies of the touched rows, which the interpreter computes with and which are put back."""

    @torch.no_grad()
    def kernel(self, k: int) -> None:
        parts: list[Bound] = [
            Part(
                lines(b.p, t)[t.rows],
                b.state | {b.keys[k]: lines(b.state[b.keys[k]], t)[t.rows] for k in self.keys},
                b.keys,
                b.row,
                b.index,
                t.rows,
            )
            for b, t in zip(self.bound, self.touched, strict=True)
        ]
        inner = Reference(self.plan, parts)
        inner.place([t.values for t in self.touched])
        inner.count(self.numbers)
        inner.kernel(k)
        for b, t, part in zip(self.bound, self.touched, parts, strict=True):
            lines(b.p, t).index_copy_(0, t.rows, part.p)
            for name in self.keys:
                lines(b.state[b.keys[name]], t).index_copy_(0, t.rows, part.state[b.keys[name]])


def lines(x: Tensor, t: Touched) -> Tensor:
    """A parameter or its state as a matrix with a line for each of its rows."""
    return x.detach().view(t.of, t.values.shape[1])


def inside(b: Bound, g: Tensor) -> None:
    """Raise unless a sparse gradient is whole and reaches only rows that are there."""
    index, values, shape, sparse = g._indices(), g._values(), b.p.shape, g.sparse_dim()
    who = f"the sparse gradient of parameter {b.index} of shape {tuple(shape)}"
    if lacks(index) or lacks(values):
        raise RuntimeError(f"{who} has no memory for all of its elements: its storage was freed or made smaller")
    if index.shape[0] != sparse or values.shape != (index.shape[1], *shape[sparse:]):
        raise RuntimeError(f"{who} has indices of shape {tuple(index.shape)} and values of {tuple(values.shape)}")
    if index.numel():  # torch's coalesce() would write outside its memory
        low, high = whole(index.amin(1)), whole(index.amax(1))
        if any(not 0 <= i <= j < n for i, j, n in zip(low, high, shape, strict=False)):
            raise RuntimeError(f"{who} has indices from {low} to {high}")


def each_once(b: Bound, g: Tensor) -> Touched:
    """The rows that a sparse gradient reaches, in order, each once. Only gradients of rows that come several times are
    added up, in the order in which they come (that of torch's coalesce() is open), and those of 16 bits with one
    rounding at the end; all others stay where they are."""
    inside(b, g)
    shape, sparse = b.p.shape, g.sparse_dim()
    width, of = shape[sparse:].numel(), shape[:sparse].numel()
    values = g._values().to(g.dtype).resolve_conj().resolve_neg()
    values = values.reshape(values.shape[0], width).contiguous()
    rows = row_numbers(g._indices(), shape)
    rows = rows.contiguous() if rows.dtype == torch.int64 else rows.to(torch.int64)
    new = rows[1:] > rows[:-1]
    if bool(new.all()):
        return Touched(rows, values, of)
    rows, order = rows.sort(stable=True)
    new = rows[1:] != rows[:-1]
    later = (~new).nonzero().flatten() + 1  # where a row comes once more
    if not len(later):
        return Touched(rows, values, of, order)
    first = torch.cat([later.new_zeros(1), new.nonzero().flatten() + 1])
    rows, lines = rows.index_select(0, first), order.index_select(0, first)
    again = later - torch.arange(1, 1 + len(later), device="cpu")  # which of the rows, as they are now, that is
    changes = torch.cat([again.new_ones(1), again.diff()]) != 0
    several, place = again[changes], changes.cumsum(0) - 1
    half = values.dtype in (torch.bfloat16, torch.float16)
    sums, more = (values.index_select(0, x) for x in (lines[several], order[later]))
    sums, more = (sums.float(), more.float()) if half else (sums, more)
    return Touched(rows, values, of, lines, several, sums.index_add_(0, place, more).to(values.dtype))


def touched(b: Bound, g: Tensor) -> Touched:
    """The same with a line of gradients for each row; on a GPU equal rows are added up as torch does it there."""
    if g.device.type == "cpu":
        return each_once(b, g).gathered()
    inside(b, g)
    shape, sparse = b.p.shape, g.sparse_dim()
    g = g.coalesce()
    rows = row_numbers(g._indices(), shape)
    if not bool((rows[1:] > rows[:-1]).all()):  # written to since it was coalesced
        g = torch.sparse_coo_tensor(g._indices(), g._values(), g.shape, check_invariants=True).coalesce()  # pyright: ignore[reportUnknownMemberType]
        rows = row_numbers(g._indices(), shape)
    values = g._values().to(g.dtype).resolve_conj().resolve_neg()
    width, of = shape[sparse:].numel(), shape[:sparse].numel()
    return Touched(rows, values.reshape(len(rows), width).contiguous(), of)


def row_numbers(index: Tensor, shape: torch.Size) -> Tensor:
    """The number of each row among all rows of a parameter of this shape."""
    rows = index.new_zeros(index.shape[1])
    for d, i in enumerate(index):
        rows = rows * shape[d] + i if d else i
    return rows


def whole(x: Tensor) -> list[int]:
    """The numbers of a vector."""
    return [int(i) for i in x]


def elementwise(plan: Plan) -> bool:
    """True if what becomes of an element depends on that element alone: no noise either."""
    return separable(plan) and not plan.ordered


def separable(plan: Plan) -> bool:
    """True if what becomes of an element depends on it and on its number alone."""
    return (
        len(plan.kernels) == 1
        and not plan.reductions
        and all(x.shape in (FULL, HOST) for x in plan.start.values())
        and apart(plan.outputs.values())
    )


def apart(roots: Iterable[Expr]) -> bool:
    """True for what looks at one element at a time: no sums, no matrices, no sizes."""
    return not any(x.op in (*REDUCE, *MATRIX, "size", "eye") for x in walk(roots))
