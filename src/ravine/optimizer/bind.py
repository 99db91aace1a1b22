"""Which parameters move together: from groups, gradients and step counts to launches.

Parameters with the same program, device and types share a launch, that is one call per kernel. Within it,
those with the same group and step count share a row of the host's numbers. All of this is found once and
kept while nothing that it rests on changes: for all parameters of an optimizer, or for one that moves alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.launch import Bound, Launch, backend_of, launch
from ravine.compile.launch.base import local, recording
from ravine.compile.launch.look import Contents, Gradients, writer
from ravine.compile.launch.memory import PLAIN, layers
from ravine.compile.plan import Gather
from ravine.compile.watch import GUARD
from ravine.optimizer.clock import Clock, count, number, number_as_tensor
from ravine.optimizer.refuse import check
from ravine.optimizer.state import begin, keys_of, numbers_of
from ravine.optimizer.swap import begin_in_train

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer

Live = tuple[int, dict[str, Any], Tensor, Tensor]  # a parameter's place among all, its group, itself, its gradient
Run = Generator[dict[str, float], dict[str, float], None]  # of a batch: its parts of sums over all tensors, and those


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
    grads: Sequence[Any] = ()
    loss: float | Tensor = math.nan
    found: Mapping[str, float] = field(default_factory=dict[str, float])  # of the shared numbers: these count
    table: list[float] = field(default_factory=list[float])

    def prepare(self, grads: Sequence[Tensor], loss: float | Tensor) -> None:
        """All of a step that can fail."""
        self.loss = loss
        self.grads = [local(g) for g in grads] if self.launch.sharded else grads
        if self.launch.place(self.grads):
            for row in self.rows:
                row.clock.find()
        self.open()
        self.table = self.count(0)

    def open(self) -> None:
        """Read the clocks."""
        for row in self.rows:
            row.t, row.before = row.clock.step + 1, row.clock.numbers
            row.before |= self.found
            row.every, row.numbers = {}, []

    def count(self, stage: int) -> list[float]:
        """The host's numbers of all rows, with those of this stage; what is not yet known is 0."""
        width, table, host = len(self.compiled.plan.numbers), list[float](), self.compiled.stages[stage]
        for row in self.rows:
            row.numbers += host(row.t, row.before, row.group, self.loss, row.every)
            table += row.numbers + [0.0] * (width - len(row.numbers))
        return table

    def run(self) -> Run:
        """All of a step that changes something. Yields this batch's part of sums over all tensors, and is sent all."""
        launching, stage = self.launch.run(self.grads, self.table), 0
        for part in launching:
            while part is not None:
                totals, stage = (yield part), stage + 1
                for row in self.rows:
                    row.every |= totals
                part = send(launching, self.count(stage))
        self.grads = ()

    def close(self) -> None:
        """The step is made: the clocks move on."""
        for row in self.rows:
            row.clock.set(row.t, self.compiled.kept(row.numbers))

    def forget(self) -> None:
        """Let go of the gradients of a step that is not made, and of copies of what does not lie flat."""
        self.grads = ()
        if self.launch.held:
            self.launch.forget()

    def rehearsal(self) -> Run:
        """The sums over all tensors that a run yields, as zeros."""
        for step in self.compiled.plan.steps:
            if isinstance(step, Gather):
                yield {str(x.arg): 0.0 for x in step.everys}


class Recorded(Batch):
    """A batch in whose steps the host has no part: what it counts otherwise is counted on the device."""

    launch: Any
    found_inf: Tensor | None = None  # of torch's GradScaler

    def open(self) -> None:
        self.launch.take([row.group for row in self.rows], self.loss, self.found_inf)

    def count(self, stage: int) -> list[float]:
        self.launch.stage(stage)
        return []

    def close(self) -> None:
        self.launch.close()


def send(steps: Generator[Any, Any, None], value: Any) -> Any:
    """What a generator yields next, or None at its end."""
    try:
        return steps.send(value)
    except StopIteration:
        return None


class Launches:
    """The launches of some parameters, and what must still hold for them to be right."""

    @torch.no_grad()
    def __init__(self, opt: Optimizer, live: Sequence[Live], groups: Sequence[dict[str, Any]]):
        name = type(opt).__name__
        for key in ("nonfinite", "capturable"):
            if len(said := {str(group[key]) for group in opt.param_groups}) > 1:
                raise ValueError(
                    f"{name}: {key} is {' and '.join(sorted(said))} in its groups, and must be one for all"
                )
        if live and recording(live[0][2].device):
            raise RuntimeError(
                f"{name}: a graph is recorded, and tables must be laid first: make a step with capturable=True and "
                "with these gradients before, on a side stream as torch advises"
            )
        if any(group.get("mode") == "eval" for group in opt.param_groups):
            raise RuntimeError(f"{name}: the model holds the weights that eval() put there; call train() before step()")
        self.batches = batches(opt, live)
        made = [(row.group, batch.compiled) for batch in self.batches for row in batch.rows]
        for group in (group for group, compiled in made if compiled.program.shown is not None):
            begin_in_train(group)
        self.fixed = [
            (group, group["params"], opt.flags(group), {opt.compiled(group), *(x for own, x in made if own is group)})
            for group in groups
        ]
        self.written = writer([b.p for batch in self.batches for b in batch.bound])

    def right(self, opt: Optimizer, groups: Sequence[dict[str, Any]]) -> bool:
        """True if the groups and their flags are those that these launches know, and the states too."""
        if len(groups) != len(self.fixed) or not self.contents.same():
            return False
        for group, (seen, params, flags, compiled) in zip(groups, self.fixed, strict=False):
            if group is not seen or group["params"] is not params or opt.flags(group) != flags:
                return False
            for x in compiled:
                if not x.fits(group):
                    return False
        return True

    contents: Contents  # of the states and what leads to them


class NonFinite(Exception):
    """A gradient is NaN or infinite, and nothing has changed."""


class Arrangement(Launches):
    """The launches of a step of all parameters that have gradients."""

    def __init__(self, opt: Optimizer):
        place = [(group, p) for group in opt.param_groups for p in group["params"]]
        live = [(i, group, p, g) for i, (group, p) in enumerate(place) if (g := p.grad) is not None]
        super().__init__(opt, live, opt.param_groups)
        moving = {i for i, *_ in live}
        self.still = Gradients(p for i, (_, p) in enumerate(place) if i not in moving)
        self.state = opt.state
        self.contents = Contents([opt.state, *opt.state.values(), *(group["params"] for group in opt.param_groups)])
        self.everys = Counter(k for batch in self.batches for k in batch.compiled.plan.everys)
        if self.gather([(run, part) for batch in self.batches if (part := next(run := batch.rehearsal(), None))]):
            raise ValueError(
                f"{type(opt).__name__}: groups wear their mods in different orders, and each waits for a norm over all "
                "parameters that the other has first; give mods that look at all parameters in one order"
            )
        self.loss = any(batch.compiled.loss for batch in self.batches)
        self.recorded = [batch for batch in self.batches if isinstance(batch, Recorded)]
        if self.recorded:
            self.share(opt)

    def share(self, opt: Optimizer) -> None:
        """Lay down the sums over all tensors where batches without the host add them up."""
        name, devices = type(opt).__name__, {b.p.device for batch in self.batches for b in batch.bound}
        if len(self.recorded) < len(self.batches) or len(devices) > 1:
            raise RuntimeError(
                f"{name}: capturable=True needs all parameters on one GPU, and they are on "
                f"{', '.join(sorted(map(str, devices)))}; leave it out"
            )
        if opt.defaults["nonfinite"] == "raise":
            raise ValueError(
                f'{name}: with capturable=True nobody can raise; use nonfinite="skip" and read opt.skipped'
            )
        (device,) = devices
        if not isinstance(opt._skipped, Tensor):
            opt._skipped = torch.tensor(opt._skipped, dtype=torch.float64, device=device)
        self.skipped = opt._skipped
        self.graphs: list[Arrangement] = vars(opt).setdefault("_graphs", [])  # they hold these tables by address
        self.totals = torch.zeros(len(self.everys), dtype=torch.float64, device=device)
        for batch in self.recorded:
            batch.launch.share(dict(zip(self.everys, self.totals, strict=True)))

    def holds(self, opt: Optimizer) -> bool:
        """True if the launches are still right: the same parameters and states, the same flags, no more gradients."""
        return opt.state is self.state and self.right(opt, opt.param_groups) and not self.still.present()

    def step(self, loss: float | Tensor = math.nan, found: Tensor | None = None) -> None:
        """New values for all: first everything that can fail, then everything that changes.

        found: what torch's GradScaler has found, for batches without the host.
        """
        if self.recorded:
            self.totals.zero_()
            for batch in self.recorded:
                batch.found_inf = found
        for batch in self.batches:
            batch.prepare(batch.launch.live.held(), loss)
        runs = [batch.run() for batch in self.batches]
        if arrived := [(run, part) for run in runs if (part := send(run, None))]:
            try:
                self.gather(arrived)
            except NonFinite:
                for batch in self.batches:
                    batch.forget()
                raise
        for batch in self.batches:
            batch.close()
        if self.recorded:
            self.skipped.add_(1).sub_(self.recorded[0].launch.made)
            if recording(self.skipped.device):
                self.graphs.append(self)
        self.written()

    def gather(self, arrived: list[tuple[Run, dict[str, float]]]) -> list[tuple[Run, dict[str, float]]]:
        """Add up what batches have for sums over all tensors; each goes on when all that it waits for are whole.

        Returns those that wait for each other. Raises NonFinite where the guard of the programs says so.
        """
        totals, parts, waiting = dict[str, float](), Counter[str](), list[tuple[Run, dict[str, float]]]()
        while arrived:
            for _, part in arrived:
                totals |= {k: totals.get(k, 0.0) + x for k, x in part.items()}
                parts.update(part.keys())
            whole = {k for k, n in parts.items() if n == self.everys[k]}
            if GUARD in whole and not math.isfinite(totals[GUARD]):
                raise NonFinite
            waiting += arrived
            ready = [(run, part) for run, part in waiting if part.keys() <= whole]
            waiting = [(run, part) for run, part in waiting if not part.keys() <= whole]
            sent = [(run, send(run, {k: totals[k] for k in part})) for run, part in ready]
            arrived = [(run, part) for run, part in sent if part]
        return waiting

    def blame(self, opt: Optimizer) -> str:
        """Which parameter has a gradient that is not finite, after NonFinite."""
        for batch in self.batches:
            plan = batch.launch.plan
            place = next(plan.sums.index(x.src[0]) for step in plan.gathers for x in step.everys if x.arg == GUARD)
            for i in (~batch.launch.sums[:, place].isfinite()).nonzero().flatten().tolist():
                return accused(opt, batch.index[i], batch.bound[i].p)
        raise AssertionError("every gradient is finite")


class Alone(Launches):
    """The launch of one parameter, which moves by itself."""

    def __init__(self, opt: Optimizer, i: int, group: dict[str, Any], p: Tensor, g: Tensor):
        super().__init__(opt, [(i, group, p, g)], [group])
        self.place, self.p, self.state = i, p, opt.state[p]
        self.contents = Contents([self.state])
        (self.batch,) = self.batches

    def holds(self, opt: Optimizer, i: int, group: dict[str, Any]) -> bool:
        """True if the launch is still right."""
        return i == self.place and opt.state.get(self.p) is self.state and self.right(opt, [group])

    def step(
        self,
        g: Tensor,
        total: Callable[[str, float], float | None],
        loss: float,
        found: Mapping[str, float],
    ) -> None:
        """New values for this one; none, and nothing has changed, where a sum is not known.

        total: from the mark of a sum over all tensors, and this one's part of it, the sum or None.
        found: the shared numbers as this step found them, where others have already moved.
        """
        batch = self.batch
        batch.found = found
        batch.prepare([g], loss)
        run = batch.run()
        part = send(run, None)
        while part is not None:
            totals = {k: x for k, own in part.items() if (x := total(k, own)) is not None}
            if len(totals) < len(part):
                run.close()
                batch.forget()
                return
            part = send(run, totals)
        batch.close()
        self.written()


def accused(opt: Optimizer, i: int, p: Tensor) -> str:
    """What is said of a parameter whose gradient is not finite."""
    names = [name for group in opt.param_groups for name in group.get("param_names", ())]
    who = f"'{names[i]}'" if names else f"parameter {i}"
    return (
        f"the gradient of {who} of shape {tuple(p.shape)} is NaN or infinite; nothing has changed. Give a smaller lr "
        "or a modifier that clips, or pass over such steps with nonfinite='skip'"
    )


def batches(opt: Optimizer, live: Sequence[Live]) -> list[Batch]:
    """Sort parameters into launches and rows; make the states that are missing."""
    for i, group, p, g in live:
        check(opt, i, group, p, g)
    found: dict[tuple[Any, ...], Batch] = {}
    turn = turns(opt, live)
    shared: dict[str, Tensor] = {}  # the numbers that all parameters share
    for i, group, p, g in live:
        compiled = opt.compiled(group, p)
        state, backend = begin(opt, compiled, group, p), opt.backend or backend_of(p)
        recorded = group["capturable"] and backend == "triton"
        clocks = p.device if recorded else "cpu"
        keys, numbers = keys_of(opt, compiled, state), numbers_of(compiled)
        for k in numbers:
            if compiled.program.start[k].arg == "shared":
                if k not in shared:
                    what = f"{type(opt).__name__}: parameter {i}: {k}"
                    shared[k] = number_as_tensor(what, newest(opt, k, state[k]), clocks)
                state[k] = shared[k]
        types = tuple(state[key].dtype for key in keys.values())
        sparse = g.layout is not torch.strided
        kind = (turn[i], compiled, backend, p.device, p.dtype, g.dtype, types, sparse)
        batch = found.setdefault(kind, (Recorded if recorded else Batch)(compiled, backend, sparse))
        who = f"{type(opt).__name__}: parameter {i}"
        counted = {k: (count if k == "step" else number)(f"{who}: {k}", state[k]) for k in ("step", *numbers)}
        row = next((r for r, x in enumerate(batch.rows) if x.group is group and x.began == counted), None)
        if row is None:
            row = len(batch.rows)
            own = {k: x for k, x in counted.items() if k != "step" and k not in shared}
            clock = Clock(counted["step"], own, {k: shared[k] for k in numbers if k in shared}, clocks)
            batch.rows.append(Row(group, clock, counted))
        batch.bound.append(Bound(p, state | batch.rows[row].clock.tensors, keys, row, i))
        batch.index.append(i)
    found = dict(sorted(found.items(), key=lambda item: item[0][0]))
    for batch in found.values():
        batch.launch = launch(
            batch.backend, batch.compiled.plan, batch.bound, batch.sparse, recorded=isinstance(batch, Recorded)
        )
    for bound in [b for batch in found.values() for b in batch.bound]:  # nothing has failed: now it may be kept
        kept = opt.state[bound.p]
        for k in kept.keys() - bound.state.keys():  # scales of what is no longer a code
            del kept[k]
        kept.update(bound.state)
        bound.state = kept
    for state in opt.state.values() if shared else ():
        state.update({k: x for k, x in shared.items() if k in state})
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


def newest(opt: Optimizer, k: str, start: Tensor) -> Tensor | float:
    """The tensor of a number that all parameters share: of the one that has moved most; before any has, the number."""
    if not (found := [state for state in opt.state.values() if k in state]):
        return number(f"{type(opt).__name__}: {k}", start)
    return max(reversed(found), key=lambda x: number(f"{type(opt).__name__}: step", x.get("step", 0)))[k]
