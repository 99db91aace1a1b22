"""Which parameters move together: from groups, gradients and step counts to launches.

Parameters with the same program, device and types share a launch, that is one call per kernel. Within it,
those with the same group and step count share a row of the host's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count as count_from
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, strided

from ravine.compile import Compiled
from ravine.compile.emit.host import NONE
from ravine.compile.expr import Expr
from ravine.compile.geometry import local
from ravine.compile.launch import Bound, Launch, backend_of, launch
from ravine.compile.launch.memory import PLAIN, layers
from ravine.compile.plan import Host, Matrix, Reduce
from ravine.optimizer.clock import Clock, count, in_common, number, number_as_tensor
from ravine.optimizer.refuse import check, check_factors
from ravine.optimizer.state import begin, keys_of, numbers_of

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.rule.rule import Rule

Live = tuple[int, dict[str, Any], Tensor, Tensor]  # a parameter's place among all, its group, itself, its gradient


@dataclass(eq=False)
class Row:
    """Parameters of one group with one step count: they share every number of the host."""

    group: dict[str, Any]
    clock: Clock
    began: dict[str, float] = field(default_factory=dict[str, float])  # what the clock said when it was made
    t: float = 0.0  # the step under way
    before: dict[str, float] = field(default_factory=dict[str, float])  # the numbers that it finds
    numbers: list[float] = field(default_factory=list[float])  # and what the host has computed from them
    every: dict[str, float] = field(default_factory=dict[str, float])  # from these sums over all tensors

    def holds(self, group: dict[str, Any], counted: Mapping[str, float], step: object) -> bool:
        """True for a parameter of this group with these numbers, unless its count is that of several processes and
        another than this one."""
        same = self.group is group and self.began == counted
        return same and (self.clock.tensors["step"] is step or not (in_common(step) or self.clock.in_common))


Call = Callable[[], object]


@dataclass(eq=False)
class Batch:
    """Parameters of one launch."""

    compiled: Compiled
    backend: str
    sparse: bool = False  # its gradients reach some rows only
    rows: list[Row] = field(default_factory=list[Row])
    bound: list[Bound] = field(default_factory=list[Bound])
    index: list[int] = field(default_factory=list[int])  # of each parameter, among all of the optimizer
    launch: Launch = field(init=False)
    given: Mapping[str, float | Tensor] = field(default_factory=dict[str, float | Tensor])  # inputs that are numbers
    found: Mapping[str, float] = field(default_factory=dict[str, float])  # of the shared numbers: these count

    recorded: ClassVar[bool] = False  # True: the host has no part in a step

    def bind(self) -> None:
        """Lay the tables of its launch."""
        plan = self.compiled.plan
        sums = [x for kernel in plan.kernels for x in (*kernel.sums, *kernel.short)]
        if any(self.crossed(x, b) for b in self.bound if b.extent.mesh is not None for x in sums):
            plan = plan.in_parts
        self.launch = launch(self.backend, plan, self.bound, self.sparse, self.recorded)

    def crossed(self, x: Expr, b: Bound) -> list[int]:
        """The axes of a parameter's mesh whose processes each have a part of this sum or maximum."""
        return b.extent.crossed(x.src[0].shape, x.shape, self.compiled.plan.view)

    def cuts(self) -> Iterator[tuple[list[Call], list[Call], Reduce | None]]:
        """The phases of a step, cut after each Reduce phase that is more than a part of a kernel: Host phases, others,
        and that Reduce phase."""
        hosts, calls, kernels, plan = list[Call](), list[Call](), count_from(0), self.launch.plan
        for phase, begins in zip(plan.phases, plan.begins, strict=True):
            if begins:
                calls.append(partial(self.launch.kernel, next(kernels)))
            match phase:
                case Host(stage):
                    hosts.append(partial(self.host, stage))
                case Matrix():
                    calls.append(partial(self.launch.matrix, phase))
                case Reduce() if phase.all or plan.split:
                    yield hosts, calls, phase
                    hosts, calls = [], []
                case _:
                    pass
        yield hosts, [*calls, self.launch.end], None

    def prepare(self, grads: Sequence[Tensor], given: Mapping[str, float | Tensor] = NONE) -> None:
        """Find the memory of all arrays, and read the clocks. Raises before anything has changed."""
        self.given = given
        if self.launch.place(grads):
            for row in self.rows:
                row.clock.find()
        self.open()

    def open(self) -> None:
        """Read the clocks."""
        for row in self.rows:
            row.t, row.before = row.clock.step + 1, row.clock.numbers
            row.before |= self.found
            row.every, row.numbers = {}, []

    def host(self, stage: int) -> None:
        """Compute the host's numbers of this stage, for all rows; what is not yet known is 0."""
        width, table, numbers = len(self.compiled.plan.numbers), list[float](), self.compiled.stages[stage]
        for row in self.rows:
            row.numbers += numbers(row.t, row.before, row.group, self.given, row.every)
            table += row.numbers + [0.0] * (width - len(row.numbers))
        self.launch.count(table)

    def parts(self, reduce: Reduce) -> dict[str, float]:
        """What its parameters have for sums over all tensors, by their marks."""
        sums = self.compiled.plan.sums
        return {str(x.arg): self.launch.over_all(sums.index(x.src[0])) for x in reduce.sums}

    def take(self, totals: Mapping[str, float]) -> None:
        """Take sums over all tensors: the next Host phase computes with them."""
        for row in self.rows:
            row.every |= totals

    def close(self) -> None:
        """The step is made: the clocks move on."""
        for row in self.rows:
            row.clock.set(row.t, self.compiled.kept(row.numbers))


class Recorded(Batch):
    """A batch in whose steps the host has no part: its numbers and clocks are on the device (`capturable`)."""

    launch: Any
    found_inf: Tensor | None = None  # of torch's GradScaler
    recorded = True

    def open(self) -> None:
        self.launch.take([row.group for row in self.rows], self.given, self.found_inf)

    def host(self, stage: int) -> None:
        self.launch.stage(stage)

    def close(self) -> None:
        self.launch.close()


def batches(opt: Optimizer, live: Sequence[Live]) -> list[Batch]:
    """Sort parameters into launches and rows; make the states that are missing."""
    for i, group, p, g in live:
        check(opt, i, group, p, g)
    check_factors(opt, live)
    found: dict[tuple[Any, ...], Batch] = {}
    turn = turns(opt, live)
    shared: dict[tuple[type[Rule], str], Tensor] = {}  # the numbers that all parameters of a rule share
    for i, group, p, g in live:
        compiled, rule = opt.compiled(group, p), opt.rule_of(group)
        state, backend = begin(opt, compiled, group, p), opt.backend or backend_of(p)
        made = Recorded if group["capturable"] and backend == "triton" else Batch
        clocks = p.device if made.recorded else "cpu"
        keys, numbers = keys_of(rule, compiled, state), numbers_of(compiled)
        for k in numbers:
            if compiled.program.start[k].arg == "shared":
                if (rule, k) not in shared:
                    what = f"{type(opt).__name__}: parameter {i}: {k}"
                    shared[rule, k] = number_as_tensor(what, newest(opt, rule, k, state[k]), clocks)
                state[k] = shared[rule, k]
        types = tuple(state[key].dtype for key in keys.values())
        sparse = g.layout is not strided
        kind = (turn[i], compiled, backend, p.device, p.dtype, g.dtype, types, sparse)
        batch = found.setdefault(kind, made(compiled, backend, sparse))
        who = f"{type(opt).__name__}: parameter {i}"
        counted = {k: (count if k == "step" else number)(f"{who}: {k}", state[k]) for k in ("step", *numbers)}
        step = state["step"]
        row = next((r for r, x in enumerate(batch.rows) if x.holds(group, counted, step)), None)
        if row is None:
            row = len(batch.rows)
            found_in = {k: state[k] if in_common(state[k]) else x for k, x in counted.items()}
            own = {k: x for k, x in found_in.items() if k != "step" and (rule, k) not in shared}
            common = {k: shared[rule, k] for k in numbers if (rule, k) in shared}
            clock = Clock(found_in["step"], own, common, clocks)
            batch.rows.append(Row(group, clock, counted))
        batch.bound.append(Bound(p, state | batch.rows[row].clock.tensors, keys, row, i))
        batch.index.append(i)
    found = dict(sorted(found.items(), key=lambda item: item[0][0]))
    for batch in found.values():
        batch.bind()
    for bound in [b for batch in found.values() for b in batch.bound]:  # nothing has failed: now it may be kept
        kept = opt.state[bound.p]
        for k in kept.keys() - bound.state.keys():  # scales of what is no longer a code
            del kept[k]
        kept.update(bound.state)
        bound.state = kept
    for (rule, k), x in shared.items():
        for state in states_of(opt, rule):
            if k in state:
                state[k] = x
    return list(found.values())


def turns(opt: Optimizer, live: Sequence[Live]) -> dict[int, int]:
    """When each parameter moves: a parameter that shares memory with another moves after it, as in torch's loop.

    Raises where a state shares memory with a parameter or with another state: a step would write both at once.
    """
    alone = [x for x in live if type(local(x[2])) in PLAIN and not x[2].is_meta]  # others own no memory here
    states = [
        (i, p, k, local(x))
        for i, _, p, _ in alone
        for k, x in opt.state.get(p, {}).items()
        if isinstance(x, Tensor) and x.dim() and type(local(x)) in PLAIN and x.device == p.device
    ]
    found = layers([*(local(p) for _, _, p, _ in alone), *(x for *_, x in states)])
    for (i, p, k, _), layer in zip(states, found[len(alone) :], strict=True):
        if layer:
            raise RuntimeError(
                f"{type(opt).__name__}: state '{k}' of parameter {i} of shape {tuple(p.shape)} shares memory with a "
                f"parameter or with another state; give it its own: opt.state[p]['{k}'] = opt.state[p]['{k}'].clone()"
            )
    order = {i: layer for (i, *_), layer in zip(alone, found, strict=False)}
    return {i: order.get(i, 0) for i, *_ in live}


def states_of(opt: Optimizer, rule: type[Rule]) -> list[dict[str, Any]]:
    """The states of the parameters of a rule."""
    mine = {p for group in opt.param_groups if opt.rule_of(group) is rule for p in group["params"]}
    return [state for p, state in opt.state.items() if p in mine]


def newest(opt: Optimizer, rule: type[Rule], k: str, start: Tensor) -> Tensor | float:
    """The tensor of a number that all parameters of a rule share: of the one that has moved most; before any has, the
    number."""
    if not (found := [state for state in states_of(opt, rule) if k in state]):
        return number(f"{type(opt).__name__}: {k}", start)
    return max(reversed(found), key=lambda x: number(f"{type(opt).__name__}: step", x.get("step", 0)))[k]
