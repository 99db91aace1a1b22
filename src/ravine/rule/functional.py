"""A rule as two pure functions, `init` and `update`: no optimizer, no parameters that move in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from copy import copy
from itertools import count
from typing import Any

import torch
from torch import Tensor

from ravine.compile import Compiled, facts_of
from ravine.compile.expr import FULL, HOST, Expr, is_matrix
from ravine.compile.geometry import extent, real, stacked
from ravine.compile.interpret import evaluate
from ravine.compile.launch.base import Bound
from ravine.compile.launch.reference import Reference
from ravine.compile.path import number_of
from ravine.compile.plan import Host, Matrix, Reduce, Sweep
from ravine.compile.trace import FRESH, inputs
from ravine.rule.arrays import as_tensor, flat, form, like, parts, rebuilt
from ravine.rule.hyper import constants, fields, settle
from ravine.rule.programs import compiled
from ravine.rule.rule import Rule
from ravine.saved import told

OPTIMIZERS = ("storage", "master_bits", "nonfinite", "measured", "capturable")  # what has no meaning without one
Run = Generator[dict[str, float], dict[str, float], None]


class Functional:
    """A rule and its hyperparameters as pure functions on torch tensors and numpy arrays: what `ravine.functional`
    returns.

    p, g and the result are one array, or a dict, list or tuple of arrays, nested as you like; the state has the same
    form, with {name: array} in place of each array, and plain floats for the numbers that a rule keeps on the host.
    Arrays come back as the kind they were given as. Nothing that is given changes.
    """

    def __init__(self, rule: type[Rule], hyper: Mapping[str, Any]):
        if not isinstance(rule, type) or not issubclass(rule, Rule) or rule.several:
            raise TypeError(f"functional: a rule is a name, or a class derived from ravine.Optimizer, not {rule!r}")
        for name in OPTIMIZERS:
            if name in hyper:
                raise TypeError(f"functional: {name} is for an optimizer, which keeps states and decides about steps")
        if not rule.dense:
            raise TypeError(f"functional: {rule.__name__} takes sparse gradients only, and arrays are dense; use adam")
        default = {k: x for k, (_, x) in fields(rule).items()} | constants(rule)
        self.rule = rule
        made = default | settle(rule, hyper)
        self.hyper: Mapping[str, Any] = made | {"mods": tuple(map(copy, made["mods"]))}
        rule.validate(self.hyper)
        self.inputs = inputs(rule)

    def __repr__(self) -> str:
        mine = {k: x for k, x in self.hyper.items() if k not in OPTIMIZERS and x != fields(self.rule).get(k, (0, x))[1]}
        return f"functional({self.rule.__name__}{''.join(f', {k}={x!r}' for k, x in mine.items())})"

    def replace(self, **hyper: Any) -> Functional:
        """The same with other hyperparameters, such as the rate of this step; nothing is compiled for another float."""
        given = {k: x for k, x in self.hyper.items() if k in fields(self.rule) and k not in OPTIMIZERS}
        return Functional(self.rule, given | hyper)

    def init(self, p: Any) -> Any:
        """The state before the first step."""
        return rebuilt(p, iter([self._begin(as_tensor(x, "p"), x) for x in flat(p)]))

    def update(self, state: Any, p: Any, g: Any, t: int, **given: Any) -> tuple[Any, Any]:
        """(new p, new state) of step t = 1, 2 …, where the gradient is g.

        given: what the rule's update takes beside these: a number, such as `loss` (MoMo), or arrays in the form of p,
            which are taken for new ones unless `fresh=0.0` is given where the rule asks.

        Sums over all tensors, as a `ClipNorm` or Prodigy make them, are over all arrays of p. Raises TypeError or
        ValueError where arrays, states or inputs are not what the rule takes.
        """
        given = self._given(given)
        if isinstance(t, bool) or not float(t).is_integer() or t < 1:
            raise ValueError(f"functional: t is {told(t)}; it counts steps, and the first is 1")
        was = list(flat(p))
        arrays = {k: list(parts(p, given[k], k)) for k, shape in self.inputs.items() if shape is not HOST}
        more = [{k: x[i] for k, x in arrays.items()} for i in range(len(was))]
        beside = zip(was, parts(p, g, "g"), parts(p, state, "state"), more, strict=True)
        leaves = [Leaf(self, i, *x) for i, x in enumerate(beside)]
        batches: dict[Any, list[Leaf]] = {}
        for x in leaves:
            types = [x.p.dtype, *(y.dtype for y in x.arrays.values())]
            batches.setdefault((x.compiled, x.p.device, *types), []).append(x)
        in_step({self._run(x, float(t), given): x[0].compiled.plan.everys for x in batches.values()})
        return (
            rebuilt(p, iter([like(x.p, old) for x, old in zip(leaves, was, strict=True)])),
            rebuilt(p, iter([x.state(old) for x, old in zip(leaves, was, strict=True)])),
        )

    def _given(self, given: Mapping[str, Any]) -> dict[str, Any]:
        name = self.rule.__name__
        given = {FRESH: 1.0, **given} if FRESH in self.inputs else given
        if missing := [k for k in self.inputs if given.get(k) is None]:
            raise TypeError(f"functional: {name} needs the {missing[0]}: update(state, p, g, t, {missing[0]}=…)")
        if unknown := given.keys() - {*self.inputs}:
            takes = f"takes {', '.join(self.inputs)}" if self.inputs else "takes nothing beside state, p, g and t"
            raise TypeError(f"functional: {name} has no input '{min(unknown)}'; it {takes}")
        return {k: number(x) if self.inputs[k] is HOST else x for k, x in given.items()}

    def _compiled(self, p: Tensor) -> Compiled:
        """The program for an array."""
        if p.is_complex() and (self.rule.twin is None or self.rule.real_only):
            raise ValueError(f"functional: p is complex; {self.rule.__name__} is defined for real ones")
        return compiled(self.rule, self.rule.flags(self.hyper), self.hyper, facts_of(p))

    def _begin(self, p: Tensor, old: Any) -> dict[str, Any]:
        """The first state of one array."""
        program, view = self._compiled(p).program, self._compiled(p).plan.view
        start = {k: x for k, x in program.start.items() if k not in self.inputs}

        def read(x: Expr) -> Tensor:
            if x.op == "p":
                return real(p).reshape(extent(real(p), FULL, view))
            return torch.tensor(float(number_of(self.hyper, str(x.arg))), dtype=torch.float64, device="cpu")

        made = dict[Expr, Tensor]()
        for matrices in (False, True):
            part = [x for x in start.values() if is_matrix(x) == matrices]
            made |= evaluate(part, stacked(read, real(p), view) if matrices else read, real(p), view=view)
        return {k: float(made[x]) if x.shape is HOST else like(kept(x, made[x], p), old) for k, x in start.items()}

    def _run(self, batch: list[Leaf], t: float, given: Mapping[str, Any]) -> Run:
        """The phases of a step. Yields what these arrays have for sums over all, and is sent the sums."""
        program, bound = batch[0].compiled, [x.bound(row) for row, x in enumerate(batch)]
        plan, launch, kernels, every = program.plan, Reference(program.plan, bound), count(), dict[str, float]()
        rows, width = [list[float]() for _ in batch], len(plan.numbers)
        launch.place([x.g for x in batch])
        for phase in plan.phases:
            match phase:
                case Host(stage):
                    for row, x in zip(rows, batch, strict=True):
                        row += program.stages[stage](t, x.before, self.hyper, given, every)
                    launch.count([n for row in rows for n in row + [0.0] * (width - len(row))])
                case Sweep():
                    launch.kernel(next(kernels))
                case Matrix():
                    launch.matrix(phase)
                case Reduce() if phase.all:
                    every |= yield {str(x.arg): launch.over_all(plan.sums.index(x.src[0])) for x in phase.sums}
                case _:
                    pass
        launch.end()
        for row, x in zip(rows, batch, strict=True):
            x.before = program.kept(row)


class Leaf:
    """One array in a step: copies, which the step writes to."""

    def __init__(self, rule: Functional, index: int, p: Any, g: Any, state: Any, more: Mapping[str, Any]):
        self.p, self.g = as_tensor(p, "p"), as_tensor(g, "g")
        self.compiled = rule._compiled(self.p)
        start = {k: x for k, x in self.compiled.program.start.items() if k not in rule.inputs}
        self.names = tuple(start)
        if (self.g.shape, self.g.dtype, self.g.device) != (self.p.shape, self.p.dtype, self.p.device):
            raise ValueError(
                f"functional: g is {told(g)} and p is {told(p)}; both must have one shape, type and device"
            )
        if not isinstance(state, Mapping) or state.keys() != start.keys():
            wanted = f"of {rule.rule.__name__} is {form(dict(start))}"
            raise ValueError(f"functional: the state {wanted} for each array; given was {form(state)}")
        self.before = {k: float(state[k]) for k, x in start.items() if x.shape is HOST}
        self.arrays = {k: as_tensor(state[k], f"state {k}") for k, x in start.items() if x.shape is not HOST}
        self.arrays |= {k: as_tensor(x, k) for k, x in more.items() if k in self.compiled.program.start}
        for k, x in self.compiled.program.start.items():
            if x.shape == FULL and self.arrays[k].shape != self.p.shape:
                raise ValueError(f"functional: {k} is {told(self.arrays[k])}, and p is {told(p)}")
        self.index = index

    def bound(self, row: int) -> Bound:
        """Itself as a launch takes it."""
        clocks = {k: torch.tensor(x, dtype=torch.float64) for k, x in {"step": 0.0, **self.before}.items()}
        return Bound(self.p, self.arrays | clocks, {k: k for k in self.arrays}, row, self.index)

    def state(self, old: Any) -> dict[str, Any]:
        """What the step has left, as the kind that p was given as."""
        made = {k: like(x, old) for k, x in self.arrays.items()} | self.before
        return {k: made[k] for k in self.names}


def in_step(marks: Mapping[Run, list[str]]) -> None:
    """Run all up to their next sum over all tensors; each goes on when all have arrived at those that it waits for.

    marks: all sums that each will ask for.
    """
    left = Counter(mark for x in marks.values() for mark in x)
    totals, waiting = dict[str, float](), dict[Run, dict[str, float]]()
    moving: list[Run] = list(marks)
    while moving:
        for run in moving:
            try:
                own = run.send({k: totals[k] for k in waiting.pop(run)}) if run in waiting else next(run)
            except StopIteration:
                continue
            waiting[run] = own
            left -= Counter(own.keys())
            totals |= {k: totals.get(k, 0.0) + x for k, x in own.items()}
        moving = [run for run, own in waiting.items() if not left.keys() & own.keys()]
    assert not waiting, "programs of one rule have their sums in one order"


def number(x: Any) -> float:
    """One number as Python's, of whatever library."""
    return float(x.detach() if isinstance(x, Tensor) else x)


def kept(x: Expr, value: Tensor, p: Tensor) -> Tensor:
    """A state as it is kept: like the array, or statistics in float32 at least."""
    if x.shape == FULL:
        out = torch.empty_like(p)
        real(out).copy_(value.reshape(real(out).shape))
        return out
    dtype = torch.float32 if p.dtype in (torch.bfloat16, torch.float16) else real(p).dtype
    return value.to(p.device, dtype, copy=True).contiguous()
