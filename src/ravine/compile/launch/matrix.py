"""Calls of torch functions in a Matrix phase: those that are equal are one of a stack, where that is faster here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ravine.compile.cache import cached
from ravine.compile.call import Asked, Call
from ravine.compile.expr import LONG, Expr, walk
from ravine.compile.interpret import Interpreter, Maker, Values, make
from ravine.compile.native import processor

LARGEST = 1 << 22  # numbers of a stack: what is larger takes so long that calling it is nothing
SMALL = 64 * 64  # numbers that a call is given: below, one of a stack is faster on every machine that was tried
TRIED = (8, 4, 2)  # how many calls a trial is made of


class Work:
    """The matrix work of one tensor in a phase: all that can be known before a step. Given are the calls, level after
    level, what is wanted in the end, and which values there will be at the beginning."""

    def __init__(
        self, making: Interpreter, levels: Sequence[Sequence[Expr]], wanted: Sequence[Expr], known: Container[Expr]
    ):
        self.making = making
        needed = walk([*(x for calls in levels for x in calls), *wanted], known)
        self.begin = [x for x in needed if x in known]  # what it looks at of what is known
        self.levels = list[list[Planned]]()
        made = set(self.begin)
        for calls in levels:
            self.levels.append([])
            for x in calls:
                self.levels[-1].append(Planned(making, x, making.makers(x.src, made)))
                made |= {y for y, _ in self.levels[-1][-1].before}
            made |= {*calls}
        self.last = making.makers(wanted, made)


class Planned:
    """A call of a tensor's matrix work, and what makes its operands: found once, for all steps."""

    def __init__(self, making: Interpreter, x: Expr, before: Sequence[tuple[Expr, Maker]]):
        self.making, self.x, self.before, self.call = making, x, before, cast(Call, x.arg)
        self.texts: dict[tuple[int, int], str] = {}  # of trials, by how many calls and threads

    def ask(self, made: Values) -> Due | None:
        """The call where it is due; else takes what stands."""
        make(self.before, made)
        values = [made[s] for s in self.x.src]
        if (asked := self.call.ask(values, self.making.size)) is None:
            self.keep(made, self.call.standing(values))
            return None
        return Due(self, asked, made)

    def keep(self, made: Values, found: Any) -> None:
        """Take what the call has made, or what stands."""
        made[self.x] = found.to(self.making.number) if self.x.shape in LONG else found


@dataclass(slots=True)
class Due:
    """A call that is due."""

    of: Planned
    asked: Asked
    made: Values  # of its tensor, so far

    @property
    def numel(self) -> int:
        """The numbers that it is given."""
        return max(1, sum(x.numel() for x in self.asked.matrices))

    @property
    def kind(self) -> tuple[Any, ...]:
        """What calls that may be one have in common."""
        call = self.of.call
        if not call.stack:
            return (self.of,)
        matrices = [(x.shape, x.dtype, x.device) for x in self.asked.matrices]
        return call.fn, call.shapes, self.asked.numbers, call.args, call.options, *matrices

    def alone(self) -> Sequence[Tensor]:
        """Its results, by itself."""
        making, call = self.of.making, self.of.call
        return call.results(call.apply(self.asked, making.size, making.batch), making.size, making.batch)

    def take(self, results: Sequence[Tensor]) -> None:
        """Take its results."""
        self.of.keep(self.made, self.of.call.arrays(results, self.of.making.like))


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


def run(calls: Iterable[tuple[Planned, Values]], outcomes: dict[str, str]) -> None:
    """Make these calls, or take what stands where one is not due. Notes what was one call."""
    kinds = defaultdict[tuple[Any, ...], list[Due]](list)
    for planned, made in calls:
        if due := planned.ask(made):
            kinds[due.kind].append(due)
    for dues in kinds.values():
        most = max(1, LARGEST // dues[0].numel)
        for i in range(0, len(dues), most):
            some = dues[i : i + most]
            joint = faster(some)
            found = together(some) if joint else [due.alone() for due in some]
            if len(some) > 1:
                what = f"{some[0].of.call.name} of {tuple(some[0].asked.matrices[0].shape)}"
                outcomes[what] = f"{len(some)} as one call" if joint else f"{len(some)} one by one"
            for due, results in zip(some, found, strict=True):
                due.take(results)


def together(dues: Sequence[Due]) -> list[Sequence[Tensor]]:
    """The results of equal calls, made as one of a stack."""
    call, making, first, count = dues[0].of.call, dues[0].of.making, dues[0].asked, len(dues)
    join = torch.cat if making.batch else torch.stack
    matrices = [join(list(each)) for each in zip(*(due.asked.matrices for due in dues), strict=True)]
    made = call.made_of(matrices, first.numbers, making.size)
    found = call.results(made, making.size, [count * (making.batch[0] if making.batch else 1)])
    parts = [x.chunk(count) if making.batch else x.unbind() for x in found]
    return list(zip(*parts, strict=True))


def faster(dues: Sequence[Due]) -> bool:
    """Whether these calls are faster as one, by a trial that is made once on a machine."""
    first, device = dues[0], dues[0].of.making.p.device
    if len(dues) == 1 or device.type == "meta" or isinstance(first.asked.matrices[0], FakeTensor):
        return False
    if several():
        return dues[0].numel <= SMALL
    count = next(n for n in TRIED if n <= len(dues))
    key = count, torch.get_num_threads()
    if key not in first.of.texts:
        first.of.texts[key] = asked_of(first, count)
    return tried(first.of.texts[key], device, dues[:count])


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
    call, device = due.of.call, due.of.making.p.device
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
