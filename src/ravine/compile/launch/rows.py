"""Sparse gradients: the same kernels over the touched rows alone, each a little tensor in the launch's tables."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.compile.emit.llvm import COLUMNS, CONTEXT
from ravine.compile.expr import FULL, HOST, walk
from ravine.compile.launch.base import Bound, Changed, Launch, Steps, local
from ravine.compile.launch.llvm import LLVM, cut
from ravine.compile.launch.memory import lacks
from ravine.compile.launch.reference import Reference
from ravine.compile.native import openmp
from ravine.compile.plan import Plan


@dataclass
class Touched:
    """The part of one parameter that a sparse gradient reaches."""

    rows: Tensor  # which rows, in order, each once
    values: Tensor  # their gradients: a matrix, a line for each row
    of: int  # how many rows the parameter has


@dataclass(eq=False, slots=True)
class Part(Bound):
    """The touched rows of a parameter, copied together."""

    rows: Tensor | None = None

    def elements(self) -> Tensor:
        """The index of each element in the parameter."""
        assert self.rows is not None
        width = self.p.shape[1]
        return (self.rows.cpu()[:, None] * width + torch.arange(width, device="cpu")).flatten()


class Rows(Launch):
    """A launch whose gradients are sparse, and whose tensors are walked through row by touched row."""

    touched: Sequence[Touched] = ()

    @torch.no_grad()
    def place(self, grads: Sequence[Tensor]) -> bool:
        """Find the touched rows and lay the tables. Raises before anything has changed."""
        if any(g.layout is not torch.sparse_coo for g in grads):
            raise Changed("a gradient is not sparse")
        self.recognize(grads)
        for b in self.bound:
            self.check(b)
        self.touched = [touched(b, g) for b, g in zip(self.bound, grads, strict=True)]
        self.lay()
        return True

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

    def run(self, grads: Sequence[Tensor], numbers: Sequence[float]) -> Steps:
        yield from super().run(grads, numbers)
        self.touched = ()

    def lay(self) -> None:
        """Make the tables of the little tensors, as the backend's kernels walk them."""

    def lengths(self) -> list[int]:
        """How many real numbers a row has, parameter by parameter."""
        pairs = 2 if self.bound[0].p.is_complex() else 1
        return [pairs * t.values.shape[1] for t in self.touched]

    def spread(self, each: Sequence[int]) -> Tensor:
        """A number of each parameter, for each of its little tensors."""
        device = self.bound[0].p.device
        if len(each) == 1:
            return torch.full((len(self.touched[0].rows),), each[0], device=device)
        counts = torch.tensor([len(t.rows) for t in self.touched], device=device)
        return torch.tensor(each, device=device).repeat_interleave(counts)

    def places_of(self) -> dict[str, Tensor]:
        """What the chance of each little tensor depends on."""
        offset = torch.cat([t.rows * n for t, n in zip(self.touched, self.lengths(), strict=True)])
        return {"index": self.spread([b.index for b in self.bound]), "offset": offset}

    def addresses(self) -> Tensor:
        """Where every array of every little tensor lies: a line for each array."""
        parts = list[Tensor]()
        for b, t in zip(self.bound, self.touched, strict=True):
            arrays, g, n = [self.array(b, name) for name in list(self.types)[:-1]], t.values, t.values.shape[1]
            at = torch.tensor([[x.data_ptr(), x.element_size() * n] for x in [*arrays, g]], device=t.rows.device)
            rows = t.rows.expand(len(arrays) + 1, -1).clone()
            rows[-1] = torch.arange(len(t.rows), device=t.rows.device)
            parts.append(at[:, :1] + at[:, 1:] * rows)
        return torch.cat(parts, 1)


class LLVMRows(Rows, LLVM):
    """On the CPU: the tables of one call for all touched rows."""

    def lay(self) -> None:
        lengths = self.spread(self.lengths())
        self.ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        columns = {
            "n": lengths,
            "base": self.ends[:-1],
            "row": self.spread([b.row for b in self.bound]),
        } | self.places_of()
        self.little = torch.stack([columns.get(name, torch.zeros_like(lengths)) for name in COLUMNS], 1)
        self.table = self.addresses()
        self.threads = 0  # share anew

    def share(self, threads: int) -> None:
        super().share(threads)
        total = int(self.ends[-1])
        self.used, chunk = cut(total, threads)
        starts = torch.arange(0, max(total, 1), chunk, device="cpu")
        self.claims = torch.searchsorted(self.ends, starts, right=True) - 1
        fields = {
            "pointers": self.table.data_ptr(),
            "sizes": self.little.data_ptr(),
            "tensors": len(self.little),
            "total": total,
            "first": self.claims.data_ptr(),
            "chunks": len(starts),
            "chunk": chunk,
            "clock": openmp()[1] if self.used > 1 else 0,
        }
        for name, value in fields.items():
            self.context[CONTEXT.index(name)] = ctypes.c_int64(value).value


class ReferenceRows(Rows, Reference):
    """On any device: copies of the touched rows, which the fallback computes with and which are put back."""

    def run(self, grads: Sequence[Tensor], numbers: Sequence[float]) -> Steps:
        with torch.no_grad():
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
        yield from Reference(self.plan, parts).run([t.values for t in self.touched], numbers)
        with torch.no_grad():
            for b, t, part in zip(self.bound, self.touched, parts, strict=True):
                lines(b.p, t).index_copy_(0, t.rows, part.p)
                for k in self.keys:
                    lines(b.state[b.keys[k]], t).index_copy_(0, t.rows, part.state[b.keys[k]])
        self.touched = ()


def lines(x: Tensor, t: Touched) -> Tensor:
    """A parameter or its state as a matrix with a line for each of its rows."""
    return x.detach().view(t.of, t.values.shape[1])


def touched(b: Bound, g: Tensor) -> Touched:
    """The rows that a sparse gradient reaches, with equal ones added up; raises where one is not there."""
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
    g = g.coalesce()
    rows = numbered(g._indices(), shape)
    if not bool((rows[1:] > rows[:-1]).all()):  # written to since it was coalesced
        g = torch.sparse_coo_tensor(g._indices(), g._values(), g.shape, check_invariants=True).coalesce()  # pyright: ignore[reportUnknownMemberType]
        rows = numbered(g._indices(), shape)
    values = g._values().to(g.dtype).resolve_conj().resolve_neg()
    width, of = shape[sparse:].numel(), shape[:sparse].numel()
    return Touched(rows, values.reshape(len(rows), width).contiguous(), of)


def numbered(index: Tensor, shape: torch.Size) -> Tensor:
    """The number of each row among all rows of a parameter of this shape."""
    rows = index.new_zeros(index.shape[1])
    for d, i in enumerate(index):
        rows = rows * shape[d] + i if d else i
    return rows


def whole(x: Tensor) -> list[int]:
    """The numbers of a vector."""
    return [int(i) for i in x]


def elementwise(plan: Plan) -> bool:
    """True if what becomes of a row depends on that row alone: no sums, no matrices, no sizes and no noise."""
    return (
        len(plan.steps) == 1
        and not plan.reductions
        and not plan.ordered
        and all(x.shape in (FULL, HOST) for x in plan.start.values())
        and not any(x.op == "size" for x in walk(plan.outputs.values()))
    )
