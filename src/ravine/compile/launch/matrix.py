"""Calls of torch functions in a Matrix phase: those that are equal are one of a stack, where that is faster here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.block import View
from ravine.compile.cache import cached
from ravine.compile.call import Asked, Call
from ravine.compile.expr import SEVERAL, Expr, walk
from ravine.compile.geometry import batch_of, size_of, sizes
from ravine.compile.interpret import evaluate, wide, widened_rows
from ravine.compile.native import processor

LARGEST = 1 << 22  # numbers of a stack: what is larger takes so long that calling it is nothing
SMALL = 64 * 64  # numbers that a call is given: below, one of a stack is faster on every machine that was tried
TRIED = (8, 4, 2)  # how many calls a trial is made of


@dataclass
class Work:
    """The matrix work of one tensor."""

    p: Tensor
    read: Callable[[Expr], Tensor]
    view: View
    index: int
    made: dict[Expr, Any]  # so far
    size: Callable[[str], int] = field(init=False)
    like: Tensor = field(init=False)

    def __post_init__(self):
        self.size = partial(size_of, size=sizes(self.p.shape, self.view))
        elements = torch.promote_types(self.p.dtype, torch.float32)
        self.like = torch.empty(0, dtype=elements, device=self.p.device)

    def find(self, wanted: Sequence[Expr]) -> dict[Expr, Any]:
        """All that is made so far, with these values."""
        self.made = evaluate(wanted, self.read, self.p, self.made, self.view, self.index)
        return self.made

    def keep(self, x: Expr, made: Any) -> None:
        """Take what a call has made, or what stands."""
        made = made if x.shape == SEVERAL else widened_rows(x, made, wide(self.p.device))
        self.made[x] = made


@dataclass
class Due:
    """One call that is due."""

    work: Work
    x: Expr
    asked: Asked

    @property
    def call(self) -> Call:
        """What is called."""
        return cast(Call, self.x.arg)

    @property
    def batch(self) -> list[int]:
        """The dimension of a stack that its matrices are already."""
        return batch_of(self.work.p, self.work.view)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What calls that may be one have in common."""
        call, matrices = self.call, [(x.shape, x.dtype, x.device) for x in self.asked.matrices]
        return call.fn, call.shapes, self.asked.numbers, call.args, call.options, *matrices

    @property
    def numel(self) -> int:
        """The numbers that it is given."""
        return max(1, sum(x.numel() for x in self.asked.matrices))

    def alone(self) -> Sequence[Tensor]:
        """Its results, by itself."""
        made = self.call.apply(self.asked, self.batch)
        return self.call.results(made, self.work.size, self.batch)


def levels(nodes: Sequence[Expr]) -> list[list[Expr]]:
    """The calls among these, those first that need no other of them."""
    found, level = defaultdict[int, list[Expr]](list), dict[Expr, int]()
    for x in walk(nodes):
        level[x] = max((level[s] for s in x.src), default=0)
        if x.op == "call" and x in nodes:
            found[level[x]].append(x)
            level[x] += 1
    return [found[i] for i in sorted(found)]


def crews(sizes: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """Which tensors work together: of one shape, and so many that copies of all of them at a time are little."""
    found = defaultdict[torch.Size, list[int]](list)
    for i, shape in sizes.items():
        found[torch.Size(shape)].append(i)
    most = {shape: max(1, LARGEST // max(1, shape.numel())) for shape in found}
    return [all_[i : i + most[shape]] for shape, all_ in found.items() for i in range(0, len(all_), most[shape])]


def run(calls: Sequence[Expr], works: Sequence[Work], outcomes: dict[str, str]) -> None:
    """Make these calls for all tensors, or take what stands where one is not due. Notes what was one call."""
    kinds = defaultdict[tuple[Any, ...], list[Due]](list)
    for work in works:
        for x in calls:
            call, known = cast(Call, x.arg), work.find(x.src)
            values = [known[s] for s in x.src]
            if (asked := call.ask(values, work.size)) is None:
                work.keep(x, call.standing(values))
                continue
            due = Due(work, x, asked)
            kinds[due.kind if call.stack else (work.index, x)].append(due)
    for dues in kinds.values():
        most = max(1, LARGEST // dues[0].numel)
        for i in range(0, len(dues), most):
            some = dues[i : i + most]
            joint = faster(some)
            found = together(some) if joint else [due.alone() for due in some]
            if len(some) > 1:
                what = f"{some[0].call.name} of {tuple(some[0].asked.matrices[0].shape)}"
                outcomes[what] = f"{len(some)} as one call" if joint else f"{len(some)} one by one"
            for due, results in zip(some, found, strict=True):
                due.work.keep(due.x, due.call.arrays(results, due.work.like))


def together(dues: Sequence[Due]) -> list[Sequence[Tensor]]:
    """The results of equal calls, made as one of a stack."""
    first, count = dues[0], len(dues)
    join = torch.cat if first.batch else torch.stack
    matrices = [join(list(each)) for each in zip(*(due.asked.matrices for due in dues), strict=True)]
    batch = [count * (first.batch[0] if first.batch else 1)]
    made = first.call.fn(*matrices, *first.asked.args, **first.asked.options)
    found = first.call.results(made, first.work.size, batch)
    parts = [x.chunk(count) if first.batch else x.unbind() for x in found]
    return list(zip(*parts, strict=True))


def faster(dues: Sequence[Due]) -> bool:
    """Whether these calls are faster as one, by a trial that is made once on a machine."""
    first, device = dues[0], dues[0].work.p.device
    if len(dues) == 1 or device.type == "meta" or isinstance(first.asked.matrices[0], FakeTensor):
        return False
    if several():
        return dues[0].numel <= SMALL
    count = next(n for n in TRIED if n <= len(dues))
    return tried(asked_of(first, count), device, dues[:count])


def several() -> bool:
    """True where several processes may train one model: all must choose alike, as results differ in the last bits."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


_found: dict[str, bool] = {}  # in this process, so that it stays as it is


def tried(text: str, device: torch.device, dues: Sequence[Due]) -> bool:
    """The outcome of a trial, of this process, of an earlier one, or made now."""
    if text not in _found:
        _found[text] = cached(text, lambda _: b"together" if trial(device, dues) else b"alone") == b"together"
    return _found[text]


def asked_of(due: Due, count: int) -> str:
    """A trial in words: all that its outcome depends on."""
    call, device = due.call, due.work.p.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    code = getattr(call.fn, "__code__", None)
    said = f"{getattr(call.fn, '__module__', '')} {call.name} {code.co_code.hex() if code else ''}"
    shapes = [(tuple(x.shape), str(x.dtype)) for x in due.asked.matrices]
    return f"stack of {count}; {where}; torch {torch.__version__}; {torch.get_num_threads()} threads; {said}; {shapes}"


def trial(device: torch.device, dues: Sequence[Due]) -> bool:
    """Whether so many calls are faster as one: the best of three each, after one that warms up."""

    def seconds(work: Callable[[], object]) -> float:
        wait(device)
        begin = perf_counter()
        work()
        wait(device)
        return perf_counter() - begin

    own = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(own):  # pyright: ignore[reportUnknownMemberType]  # what a step draws is its own
        times = [
            min([seconds(work) for _ in range(4)][1:])
            for work in (lambda: together(dues), lambda: [due.alone() for due in dues])
        ]
    return times[0] < times[1]


def wait(device: torch.device) -> None:
    """Let what was asked of a GPU be done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
