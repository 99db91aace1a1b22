"""Cut a Program into phases. Five kinds, and a step is a row of them:

Host     numbers in float64, before the step and after each sum over all tensors
Sweep    one pass over the elements of all tensors: it leaves partial sums, finishes none, and stores
Reduce   partial sums become sums: the only place where elements, threads and processes meet
Short    arithmetic on numbers of tensors, rows and columns
Matrix   torch calls on matrices

The rule of the cut: a sweep may use only what is already in memory. A reduction or a matrix operation therefore ends
a sweep; what depends on it goes into the next. The last sweep stores all states, so earlier sweeps only read, a step
can be given up until then, and any value can be computed again from its inputs.

A backend runs a Sweep and the Reduce and Short phases that follow it as one Kernel, wherever nothing happens between:
in one process. Where processes have parts of a tensor they add up after a Reduce phase, and what follows is a Kernel of
its own (Plan.in_parts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ravine.compile.block import View
from ravine.compile.expr import (
    FULL,
    HOST,
    LEAVES,
    LONG,
    MATRIX,
    REDUCE,
    SCALAR,
    VECTORS,
    Expr,
    is_matrix,
    leaf,
    node,
    walk,
)
from ravine.compile.trace import Program

LAST = ("add", "sub", "mul", "div", "neg", "abs", "max", "min", "where")  # what a sum may have before it in float64


@dataclass(frozen=True)
class Host:
    """Numbers of the host. Stage 0 is known before the step, stage i after i reductions over all tensors."""

    stage: int


@dataclass(frozen=True)
class Sweep:
    """One pass over all elements of all tensors."""

    sums: tuple[Expr, ...] = ()  # reductions over elements whose partial sums it leaves
    keep: tuple[Expr, ...] = ()  # values that a matrix operation needs in memory
    stores: tuple[tuple[str, Expr], ...] = ()  # arrays to write: the last sweep only


@dataclass(frozen=True)
class Reduce:
    """Partial sums become numbers of tensors, matrices, rows or columns; or these, over all tensors, of the host."""

    sums: tuple[Expr, ...]

    @property
    def all(self) -> bool:
        """True for sums over all tensors of the optimizer."""
        return self.sums[0].op == "every"

    @property
    def marks(self) -> list[str]:
        """What sums over all tensors are called."""
        return [str(x.arg) for x in self.sums]


@dataclass(frozen=True)
class Short:
    """States of tensors, rows and columns to write: in the end."""

    scalars: tuple[tuple[str, Expr], ...] = ()
    vectors: tuple[tuple[str, Expr], ...] = ()


@dataclass(frozen=True, eq=False)
class Matrix:
    """Work on matrices: torch calls, tensor by tensor."""

    nodes: tuple[Expr, ...] = ()
    keep: tuple[Expr, ...] = ()  # those of them that later phases need
    stores: tuple[tuple[str, Expr], ...] = ()  # states that only matrix work touches: in the end


Phase = Host | Sweep | Reduce | Short | Matrix


@dataclass(frozen=True)
class Kernel:
    """A Sweep with the Reduce and Short phases after it: what a backend runs in one call."""

    sums: tuple[Expr, ...] = ()  # reductions over the elements, to numbers of tensors, matrices, rows or columns
    short: tuple[Expr, ...] = ()  # reductions over numbers of rows or columns, in order, after the pass
    keep: tuple[Expr, ...] = ()  # values that a matrix operation needs in memory
    stores: tuple[tuple[str, Expr], ...] = ()  # arrays to write: the last kernel only
    scalars: tuple[tuple[str, Expr], ...] = ()  # states of one number per tensor to write: the last kernel only
    vectors: tuple[tuple[str, Expr], ...] = ()  # states of rows and columns to write: the last kernel only

    @property
    def sweeps(self) -> bool:
        """True if it passes over the elements."""
        return bool(self.sums or self.keep or self.stores)

    @property
    def roots(self) -> list[Expr]:
        """What the pass computes for every element in its own type."""
        return [*self.summed, *self.keep, *(x for _, x in self.stores)]

    @property
    def summed(self) -> list[Expr]:
        """What the sums of the pass are made from."""
        return [y for x in self.sums for y in factors(x)]

    @property
    def after(self) -> list[Expr]:
        """What is computed for a tensor, its rows and its columns when the pass is over."""
        return [*(x.src[0] for x in self.short), *(x for _, x in (*self.scalars, *self.vectors))]


@dataclass(frozen=True, eq=False)
class Plan:
    """The phases in order, and where every value that passes between them lies."""

    phases: tuple[Phase, ...]
    outputs: dict[str, Expr]
    start: dict[str, Expr]
    view: View = "first"  # how a tensor of more than two dimensions is a matrix, or a batch of them
    storage: str | None = None  # how states are compressed
    bits: int | None = None  # how many bits of a bfloat16 parameter lie in a state beside it
    measures: dict[str, Expr] = field(default_factory=dict[str, Expr])  # sums of each tensor that are only looked at
    split: bool = False  # something happens after each Reduce phase

    @cached_property
    def in_parts(self) -> Plan:
        """The same phases, each Reduce phase at the end of a Kernel."""
        return replace(self, split=True)

    @cached_property
    def begins(self) -> list[bool]:
        """Of each phase: does a Kernel begin with it?"""
        made: list[bool] = []
        for before, phase in zip([None, *self.phases], self.phases, strict=False):
            own = isinstance(before, Sweep) and isinstance(phase, Reduce) and phase.sums == before.sums
            after = isinstance(phase, Short) or (isinstance(phase, Reduce) and not phase.all and not own)
            made.append(isinstance(phase, Sweep) or (self.split and after))
        return made

    @cached_property
    def kernels(self) -> list[Kernel]:
        """The passes over memory, in order, each with what follows it in the same call."""
        made: list[Kernel] = []
        for phase, begins in zip(self.phases, self.begins, strict=True):
            if begins:
                made.append(Kernel())
            match phase:
                case Sweep(sums, keep, stores):
                    made[-1] = Kernel(sums, keep=keep, stores=stores)
                case Reduce(sums) if not phase.all and sums != made[-1].sums:
                    made[-1] = replace(made[-1], short=made[-1].short + sums)
                case Short(scalars, vectors):
                    made[-1] = replace(made[-1], scalars=scalars, vectors=vectors)
                case _:
                    pass
        return made

    @cached_property
    def gathers(self) -> list[Reduce]:
        """The reductions over all tensors, in order: after each the host goes on with its numbers."""
        return [phase for phase in self.phases if isinstance(phase, Reduce) and phase.all]

    @cached_property
    def everys(self) -> list[str]:
        """The marks of all sums over all tensors."""
        return [mark for phase in self.gathers for mark in phase.marks]

    @cached_property
    def worked(self) -> list[Expr]:
        """What matrix work makes for later phases."""
        return [x for phase in self.phases if isinstance(phase, Matrix) for x in phase.keep]

    @cached_property
    def reductions(self) -> list[Expr]:
        """Every sum and maximum; of factors those that are a number of the tensor."""
        return [*(x for k in self.kernels for x in (*k.sums, *k.short)), *(x for x in self.worked if x.shape == SCALAR)]

    @cached_property
    def sums(self) -> list[Expr]:
        """Those of them that are one number per tensor."""
        return [x for x in self.reductions if x.shape == SCALAR]

    @cached_property
    def hosted(self) -> dict[str, Expr]:
        """The states that are numbers of the host, and what a step leaves in them."""
        return {k: x for k, x in self.outputs.items() if k != "p" and self.start[k].shape is HOST}

    @cached_property
    def stages(self) -> list[list[Expr]]:
        """What the host computes: the numbers that meet a tensor or are kept, before a step and after each gather."""
        order = walk([*self.outputs.values(), *self.measures.values()])
        met = [s for x in order if not x.on_host for s in x.src]
        wanted = [x for x in met if x.on_host and x.op != "const"]
        wanted += [*self.hosted.values(), *self.chance]
        stage = {x: 1 + i for i, phase in enumerate(self.gathers) for x in phase.sums}
        for x in order:
            if x.on_host and x not in stage:
                stage[x] = max((stage[s] for s in x.src), default=0)
        return [[x for x in dict.fromkeys(wanted) if stage.get(x, 0) == i] for i in range(1 + len(self.gathers))]

    @cached_property
    def numbers(self) -> list[Expr]:
        """The same in one list: a row of the table that kernels read."""
        return [x for stage in self.stages for x in stage]

    @cached_property
    def arrays(self) -> list[str]:
        """The arrays of a tensor in table order: p, the states, the temporaries, and g, which moves."""
        states = [k for k, x in self.start.items() if x.shape is not HOST and not is_matrix(x)]
        return ["p", *states, *self.between.values(), "g"]

    @cached_property
    def chance(self) -> tuple[Expr, ...]:
        """The seed and the step, where states or parameters are rounded stochastically."""
        random = self.storage in ("bf16", "int8") or self.bits in (0, 8)
        return (leaf("hyper", "seed"), leaf("t", "t")) if random else ()

    @cached_property
    def draws(self) -> bool:
        """True if what becomes of an element depends on its number in the tensor: by noise or stochastic rounding."""
        return bool(self.chance) or any(x.op == "normal" and x.shape == FULL for x in walk(self.outputs.values()))

    def kind(self, array: str, dtype: str) -> str:
        """How an array of this type lies in memory (storage.py)."""
        if dtype in ("int8", "uint8"):
            return "linear8" if dtype == "int8" else "root8"
        if dtype == "bfloat16" and array == "p" and self.bits is not None:
            return f"bfloat16+{self.bits}" if self.bits else "bfloat16~"
        whole = array in self.start and self.start[array].shape == FULL  # others are not compressed
        return "bfloat16~" if dtype == "bfloat16" and whole and self.storage == "bf16" else dtype

    @cached_property
    def ordered(self) -> bool:
        """True if it matters where in its tensor an element lies; else any order of memory will do."""
        parts = walk(self.outputs.values())
        return bool(self.between) or any(x.op == "normal" or x.shape in VECTORS for x in parts if not is_matrix(x))

    @cached_property
    def between(self) -> dict[Expr, str]:
        """What stays in memory from one step to a later one, and the names of the arrays: results of matrix work,
        whole tensors, and sums of rows and columns."""
        kept = [x for k in self.kernels for x in k.keep]
        made = [x for x in self.worked if x.shape in (FULL, *VECTORS)]
        short = [x for x in self.reductions if x.shape in VECTORS]
        return {x: f"tmp{i}" for i, x in enumerate(dict.fromkeys([*kept, *made, *short]))}

    def array(self, x: Expr) -> str | None:
        """The array that holds x before any step of this plan, or after the step that made it."""
        return str(x.arg) if x.op in ("p", "g", "state", "input") and x.shape is not HOST else self.between.get(x)

    def shape(self, array: str) -> tuple[str, ...] | None:
        """The shape of what an array holds."""
        if array in self.start:
            return self.start[array].shape
        return next((x.shape for x, name in self.between.items() if name == array), FULL)

    def needs(self, kernel: Kernel, roots: list[Expr] | None = None, known: Iterable[Expr] = ()) -> list[Expr]:
        """All that a kernel loads or computes for its pass, or for these roots out of what is known, operands first."""
        roots = list(kernel.roots if roots is None else roots)
        done = {*self.between, *self.reductions} - set(kernel.keep) | set(known)
        return walk(roots, done | {x for x in walk(roots) if x.on_host})

    def rowwise(self, kernel: Kernel) -> bool:
        """True for a kernel whose pass or whose end looks at rows or columns."""
        looks = any(x.shape in VECTORS or x.op == "amax" for x in [*self.needs(kernel), *kernel.sums])
        return looks or bool(kernel.short or kernel.vectors)

    def reads(self, kernel: Kernel) -> dict[str, Expr]:
        """The arrays that a kernel loads from in its pass."""
        loads = {a: x for x in self.needs(kernel) if (a := self.array(x)) and x not in kernel.keep}
        return {a: loads[a] for a in self.arrays if a in loads}

    def writes(self, kernel: Kernel) -> dict[str, Expr]:
        """The arrays that a kernel stores element by element, and what."""
        return {**{self.between[x]: x for x in kernel.keep}, **dict(kernel.stores)}

    def codes(self, kernel: Kernel, kinds: Mapping[str, str]) -> dict[str, Expr]:
        """The same, where an array of this kind holds the root: the root."""
        return {a: node("sqrt", x) if kinds[a] == "root8" else x for a, x in self.writes(kernel).items()}


def plan(program: Program, view: View = "first", storage: str | None = None, bits: int | None = None) -> Plan:
    """The phases that make the outputs of a program (arrays and states by name) out of what is in memory."""
    outputs, start = program.outputs, program.start
    order = walk([*outputs.values(), *([] if program.guard is None else [program.guard])])
    ready: set[Expr] = {x for x in order if x.op in LEAVES or x.shape is HOST}
    todo: list[Expr] = [x for x in order if x not in ready and not fused(x)]
    phases: list[Phase] = [Host(0)]
    last = {*outputs.values(), *program.measures.values(), program.guard}
    users: dict[Expr, set[Expr]] = {x: set() for x in order}
    for x in order:
        for s in x.src:
            users[s].add(x)

    while todo:
        within = reach(order, ready)  # what a kernel can have now: memory, and what follows from it
        gather = [x for x in todo if x.op == "every" and x.src[0] in ready]
        small: list[Expr] = []
        guarded = program.guard is None or program.guard in ready  # what torch is given has been seen to be finite
        for x in todo if guarded else ():  # in order, so a chain of matrix operations goes at once
            if by_torch(x) and all(s in ready or (s in within and s.shape != FULL) for s in x.src):
                small.append(x)
                ready.add(x)
        sums = [x for x in todo if x.op in REDUCE and x.src[0].shape == FULL and x.src[0] in within]
        kept = [s for x in todo if x.op in MATRIX and x not in ready for s in x.src if s.shape == FULL]
        keep = [s for s in kept if s not in ready and s in within]
        short: list[list[Expr]] = []  # each of these reductions needs those of the lists before
        few = [x for x in todo if x.op in REDUCE and x.src[0].shape != FULL and not by_torch(x)]
        later: list[Expr] = [] if gather else few
        after = reach(order, ready | set(sums))
        while more := [x for x in later if x.src[0] in after]:
            short.append(more)
            later = [x for x in later if x not in more]
            after = reach(order, after | set(more))
        if small:
            needed = tuple(x for x in small if x in last or not users[x] <= set(small))
            phases.append(Matrix(tuple(small), needed))
        if gather:
            phases += [Reduce(tuple(gather)), Host(sum(isinstance(x, Host) for x in phases))]
            sums, keep = [], []
        elif sums or keep or short:
            phases.append(Sweep(tuple(sums), tuple(dict.fromkeys(keep))))
            phases += [Reduce(tuple(x)) for x in (sums, *short) if x]
        made = {*gather, *sums, *keep, *(x for more in short for x in more)}
        assert made or small, "a value is never computed"
        ready |= made
        todo = [x for x in todo if x not in ready]
    same = {k for k, x in outputs.items() if x.op == "state" and x.arg == k}  # no need to write what stays as it is
    states = {k: x for k, x in outputs.items() if k != "p" and start[k].shape is not HOST and k not in same}
    stores = {"p": outputs["p"]} | {k: x for k, x in states.items() if start[k].shape == FULL}
    scalars = {k: x for k, x in states.items() if start[k].shape == SCALAR}
    vectors = {k: x for k, x in states.items() if start[k].shape in VECTORS}
    matrices = {k: x for k, x in states.items() if is_matrix(start[k])}
    late = tuple(x for x in program.measures.values() if x not in ready)
    phases.append(Sweep(late, stores=tuple(stores.items())))
    phases += [Reduce(late)] * bool(late)
    phases += [Short(tuple(scalars.items()), tuple(vectors.items()))] * bool(scalars or vectors)
    phases += [Matrix(stores=tuple(matrices.items()))] * bool(matrices)
    return Plan(tuple(phases), outputs, start, view, storage, bits, program.measures)


def reach(order: list[Expr], ready: set[Expr]) -> set[Expr]:
    """What arithmetic can make of what is ready."""
    out = set(ready)
    for x in order:
        if (fused(x) or (x.on_host and x.op != "every")) and all(s in out for s in x.src):
            out.add(x)
    return out


def fused(x: Expr) -> bool:
    """True for what a kernel computes on the fly: arithmetic on elements, and on a tensor's and the host's numbers."""
    return not is_matrix(x) and x.op not in LEAVES and x.op not in MATRIX and x.op not in REDUCE and x.op != "every"


def by_torch(x: Expr) -> bool:
    """True for what a Matrix phase computes: operations on matrices, arithmetic and sums of what only it touches."""
    if x.op in REDUCE:
        return is_matrix(x.src[0]) or (x.src[0].shape in VECTORS and by_torch(x.src[0]))
    return x.op != "every" and (x.op in MATRIX or is_matrix(x))


def wide_sum(x: Expr) -> bool:
    """True for a reduction whose terms are float64: a sum, but for those of columns."""
    return x.op == "sum" and x.shape in (SCALAR, *LONG)


def widened(x: Expr, last: bool) -> bool:
    """True for an element that a sum has in float64: the last operation before it, and the products below that one.

    The square of a float32 above 1.8e19 is infinite in float32, and below 1e-23 it is 0; in float64 neither.
    """
    return x.shape == FULL and x.op in (LAST if last else ("mul",))


def factors(x: Expr) -> list[Expr]:
    """What a reduction takes from elements in their own type."""
    if not wide_sum(x):
        return [x.src[0]]
    found: list[Expr] = []
    stack = [(x.src[0], True)]
    while stack:
        y, last = stack.pop()
        if widened(y, last):
            stack += [(s, False) for s in y.src]
        else:
            found.append(y)
    return list(dict.fromkeys(found))
