"""The CPU: one call for all tensors, on the threads that torch already has."""

from __future__ import annotations

import ctypes
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import accumulate

import torch

from ravine.compile.debug import debug
from ravine.compile.emit.llvm import ALIGN, BLOCK, CONTEXT, TIMES, emit
from ravine.compile.expr import COL
from ravine.compile.geometry import real
from ravine.compile.launch.base import Bound
from ravine.compile.launch.phases import Launch
from ravine.compile.native import Code, openmp
from ravine.compile.plan import Plan

SERIAL = 32_768  # elements: below, waking threads costs more than they save
LARGEST = 1 << 20  # elements of a chunk, about a millisecond: what a thread without a core keeps from the others
ALONE = 10  # times as long as a team has lost the caller works without it, so that a busy machine costs a tenth
POINTER = ctypes.c_void_p


class LLVM(Launch):
    """Tables in the form that the emitted functions walk."""

    by_row = False  # the kernels walk touched rows
    rows = 0  # where the table of these lies

    def __init__(self, plan: Plan, bound: list[Bound]):
        super().__init__(plan, bound)
        self.code = kernels(plan, tuple(self.types.items()), self.by_row)
        lengths = [real(b.p).numel() for b in bound]
        self.base = [0, *accumulate(lengths)]
        blocks = [0, *accumulate(-(-n // BLOCK) for n in lengths)]
        tiled = [tile(**size) for size in self.sizes_of]
        counts = [size["b"] * count for size, (_, count) in zip(self.sizes_of, tiled, strict=True)]
        tiles = [0, *accumulate(counts)]
        columns = [0, *accumulate(n * size["c"] for n, size in zip(counts, self.sizes_of, strict=True))]
        rows = [
            (
                n,
                self.base[i],
                b.row,
                b.index,
                b.extent.offset or 0,
                blocks[i],
                tiles[i],
                columns[i],
                *tiled[i],
                *self.sizes_of[i].values(),
                *self.whole_of[i].values(),
            )
            for i, (n, b) in enumerate(zip(lengths, bound, strict=True))
        ]
        self.sizes = c_array(ctypes.c_int64, [x for row in rows for x in row])
        self.pointers = (ctypes.c_int64 * (len(bound) * len(self.types)))()
        self.values = (ctypes.c_double * ((1 + max(b.row for b in bound)) * len(plan.numbers)))()
        self.partials = (ctypes.c_double * (max(blocks[-1], tiles[-1]) * max(len(k.sums) for k in plan.kernels)))()
        wide = max(sum(x.shape == COL for x in k.sums) for k in plan.kernels)
        self.columns = torch.empty(columns[-1] * wide, dtype=self.compute, device="cpu")
        self.totals = (ctypes.c_double * self.sums.numel()).from_address(self.sums.data_ptr())
        self.context = (ctypes.c_int64 * len(CONTEXT))()
        self.times = (ctypes.c_double * len(TIMES))()
        self.owed = 0.0  # seconds to work alone before a team is asked again
        self.threads = 0

    def point(self, addresses: array[int]) -> None:
        ctypes.memmove(self.pointers, (ctypes.c_int64 * len(addresses)).from_buffer(addresses), 8 * len(addresses))

    def count(self, numbers: Sequence[float]) -> None:
        self.values[:] = self.numbers = numbers
        if self.threads != torch.get_num_threads():
            self.share(torch.get_num_threads())

    def share(self, threads: int) -> None:
        """Lay out who does what: chunks of the model, which threads claim."""
        pointers, sizes, tensors, total = self.tables()
        self.threads = threads
        self.used, chunk = cut(total, threads)
        starts = range(0, max(total, 1), chunk)
        fields = {
            "pointers": pointers,
            "sizes": sizes,
            "tensors": tensors,
            "total": total,
            "numbers": ctypes.addressof(self.values),
            "sums": self.sums.data_ptr(),
            "partials": ctypes.addressof(self.partials),
            "columns": self.columns.data_ptr(),
            "first": self.firsts(starts),
            "rows": self.rows,
            "chunks": len(starts),
            "chunk": chunk,
            "clock": openmp()[1] if self.used > 1 else 0,
            "times": ctypes.addressof(self.times),
            "next": 0,
        }
        self.context[:] = [fields[name] for name in CONTEXT]

    def tables(self) -> tuple[int, int, int, int]:
        """Where the tables of pointers and of sizes lie, of how many tensors they are, and of how many elements."""
        return ctypes.addressof(self.pointers), ctypes.addressof(self.sizes), len(self.bound), self.base[-1]

    def firsts(self, starts: range) -> int:
        """Where a table lies of the tensor in which each chunk begins."""
        self.first = c_array(ctypes.c_int64, [bisect_right(self.base, at) - 1 for at in starts])
        return ctypes.addressof(self.first)

    def over_all(self, place: int) -> float:
        return sum(self.totals[place :: len(self.plan.sums)])

    def kernel(self, k: int) -> None:
        run, work, finish = self.code[k]
        if self.used == 1 or not self.plan.kernels[k].sweeps:
            run(self.context, 1, 0)
        elif parallel := openmp()[0]:
            threads = 1 if self.owed > 0 else self.used
            run(self.context, threads, parallel)
            self.learn(threads)
        else:
            self.context[CONTEXT.index("next")] = 0
            others = [pool().submit(work, self.context) for _ in range(self.used - 1)]
            work(self.context)
            for other in others:
                if not other.cancel():  # who has not begun by now is not needed
                    other.result()
            finish(self.context)

    def learn(self, threads: int) -> None:
        """Leave a team that took longer than all its threads worked: it ends with the last of them, which may wait many
        milliseconds for a core when nothing is left to do."""
        took, busy = self.times
        if threads == 1:
            self.owed -= took
        elif took > busy:
            self.owed = ALONE * (took - busy)


def cut(total: int, threads: int) -> tuple[int, int]:
    """How many threads so many elements are worth, and how many a chunk has: four a thread or more, so that one
    delayed thread does not delay the step."""
    used = 1 if total < SERIAL else threads
    chunk = total if used == 1 else min(LARGEST, -(-total // (4 * used)))
    return used, max(ALIGN, chunk + ALIGN - 1 & -ALIGN)


def tile(b: int, r: int, c: int) -> tuple[int, int]:
    """How many rows of a matrix a tile has, and how many tiles the matrix."""
    rows = max(1, min(r, max(64, BLOCK // max(c, 1))))
    return rows, -(-r // rows) if c else 0


FUNCTIONS = {"run": (POINTER, ctypes.c_int32, POINTER), "work": (POINTER,), "finish": (POINTER,)}


@cache
def kernels(
    plan: Plan, types: tuple[tuple[str, str], ...], by_row: bool = False
) -> list[tuple[Callable[..., None], ...]]:
    """The functions run, work and finish of each kernel of a plan."""
    code = load(emit(plan, dict(types), by_row), len(plan.kernels))
    each = range(len(plan.kernels))
    return [tuple(code.function(f"{name}{k}", *types) for name, types in FUNCTIONS.items()) for k in each]


@cache
def load(ir: str, kernels: int) -> Code:
    """The machine code of this text, made once in a process."""
    debug(3, ir)
    return Code(ir, [f"{name}{k}" for k in range(kernels) for name in FUNCTIONS])


@cache
def pool() -> ThreadPoolExecutor:
    """Threads for machines where torch has brought no OpenMP runtime; the compiled code drops the GIL."""
    return ThreadPoolExecutor(thread_name_prefix="ravine")


def c_array(kind: type[ctypes.c_int64], values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    """A C array."""
    return (kind * len(values))(*values)
