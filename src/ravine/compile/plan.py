"""Cut a Program into steps: kernels over the elements of all tensors, and small work between them.

The rule of the cut: a kernel may use only what is already in memory. A reduction or a matrix operation
therefore ends a kernel; what depends on it goes into the next. All stores happen in the last kernel, so
earlier kernels only read, and any value can be computed again from its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ravine.compile.expr import FULL, HOST, LEAVES, MATRIX, SCALAR, Expr, walk


@dataclass(frozen=True)
class Kernel:
    """One pass over all elements of all tensors."""

    sums: tuple[Expr, ...] = ()  # reductions to finish
    keep: tuple[Expr, ...] = ()  # values that a matrix operation needs in memory
    stores: tuple[tuple[str, Expr], ...] = ()  # arrays to write: the last kernel only
    scalars: tuple[tuple[str, Expr], ...] = ()  # states of one number per tensor to write: the last kernel only

    @property
    def roots(self) -> list[Expr]:
        """What the pass computes for every element."""
        return [*(x.src[0] for x in self.sums), *self.keep, *(x for _, x in self.stores)]


@dataclass(frozen=True)
class Small:
    """Work on matrices: torch calls, tensor by tensor."""

    nodes: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps in order, and where every value that passes between them lies."""

    steps: tuple[Kernel | Small, ...]
    outputs: dict[str, Expr]
    start: dict[str, Expr]

    @property
    def kernels(self) -> list[Kernel]:
        """The passes over memory, in order."""
        return [s for s in self.steps if isinstance(s, Kernel)]

    @cached_property
    def sums(self) -> list[Expr]:
        """Every reduction: one number per tensor."""
        return [x for k in self.kernels for x in k.sums]

    @cached_property
    def numbers(self) -> list[Expr]:
        """What the host computes once per step: each number that meets a tensor."""
        met = [s for x in walk(self.outputs.values()) if x.shape is not HOST for s in x.src]
        keep = [x for x in met if x.shape is HOST and x.op != "const"]
        keep += [x for k, x in self.outputs.items() if k != "p" and self.start[k].shape is HOST]
        return list(dict.fromkeys(keep))

    @cached_property
    def arrays(self) -> list[str]:
        """The arrays of a tensor in table order: p, the states, the temporaries of matrix work, and g, which moves."""
        states = [k for k, x in self.start.items() if x.shape is not HOST and not is_matrix(x)]
        return ["p", *states, *self.between.values(), "g"]

    @cached_property
    def between(self) -> dict[Expr, str]:
        """Whole tensors that stay in memory from one step to a later one, and the names of their arrays."""
        kept = [x for k in self.kernels for x in k.keep]
        made = [x for s in self.steps if isinstance(s, Small) for x in s.nodes if x.shape == FULL]
        return {x: f"tmp{i}" for i, x in enumerate(dict.fromkeys([*kept, *made]))}

    def array(self, x: Expr) -> str | None:
        """The array that holds x before any step of this plan, or after the step that made it."""
        return str(x.arg) if x.op in ("p", "g", "state") and x.shape is not HOST else self.between.get(x)

    def needs(self, kernel: Kernel) -> list[Expr]:
        """All that a kernel loads or computes, operands first."""
        done = set(self.between) - set(kernel.keep)
        order: dict[Expr, None] = {}

        def visit(x: Expr) -> None:
            if x in order:
                return
            if x not in done and x.op != "sum" and x.shape is not HOST:
                for s in x.src:
                    visit(s)
            order[x] = None

        for x in [*kernel.roots, *(x for _, x in kernel.scalars)]:
            visit(x)
        return list(order)

    def reads(self, kernel: Kernel) -> dict[str, Expr]:
        """The arrays that a kernel loads from."""
        loads = {a: x for x in self.needs(kernel) if (a := self.array(x)) and x not in kernel.keep}
        return {a: loads[a] for a in self.arrays if a in loads}

    def writes(self, kernel: Kernel) -> dict[str, Expr]:
        """The arrays that a kernel stores element by element, and what."""
        return {**{self.between[x]: x for x in kernel.keep}, **dict(kernel.stores)}


def plan(outputs: dict[str, Expr], start: dict[str, Expr]) -> Plan:
    """The steps that make `outputs` (arrays and states by name) out of what is in memory."""
    order = walk(outputs.values())
    ready: set[Expr] = {x for x in order if x.op in LEAVES or x.shape is HOST}
    todo: list[Expr] = [x for x in order if x not in ready and not fused(x)]
    steps: list[Kernel | Small] = []

    while todo:
        within = set(ready)  # what a kernel can have now: memory, and what follows from it element by element
        for x in order:
            if fused(x) and all(s in within for s in x.src):
                within.add(x)
        small: list[Expr] = []
        for x in todo:  # in order, so a chain of matrix operations goes at once
            if x.op != "sum" and all(s in ready or (s.shape == SCALAR and s in within) for s in x.src):
                small.append(x)
                ready.add(x)
        sums = [x for x in todo if x.op == "sum" and x.src[0] in within]
        keep = [s for x in todo if x.op in MATRIX and x not in ready for s in x.src if s not in ready and s in within]
        if small:
            steps.append(Small(tuple(small)))
        if sums or keep:
            steps.append(Kernel(tuple(sums), tuple(dict.fromkeys(keep))))
        assert small or sums or keep, "a value is never computed"
        ready |= {*sums, *keep}
        todo = [x for x in todo if x not in ready]
    stores = tuple((k, x) for k, x in outputs.items() if k == "p" or (start[k].shape == FULL))
    scalars = tuple((k, x) for k, x in outputs.items() if k != "p" and start[k].shape == SCALAR)
    return Plan((*steps, Kernel(stores=stores, scalars=scalars)), outputs, start)


def fused(x: Expr) -> bool:
    """True for what a kernel computes on the fly: elementwise work, and arithmetic on a tensor's numbers."""
    return x.shape in (FULL, SCALAR) and x.op not in LEAVES and x.op not in MATRIX and x.op != "sum"


def is_matrix(x: Expr) -> bool:
    """A state that only matrix work touches, such as a preconditioner."""
    return x.shape not in (HOST, SCALAR, FULL)
