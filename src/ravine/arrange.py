"""Which parameters move together: from groups, gradients and step counts to launches.

Parameters with the same program, device and types share a launch, that is one call per kernel. Within it,
those with the same group and step count share a row of the host's numbers. All of this is found once and
kept while nothing that it rests on changes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.clock import Clock
from ravine.compile import Compiled
from ravine.compile.expr import FULL, HOST
from ravine.compile.launch import Bound, Launch, backend_for, elementwise, launch
from ravine.compile.launch.base import local
from ravine.compile.plan import Gather
from ravine.state import TYPES, begin, keys_of, numbers_of, shape_of

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer

Run = Generator[dict[str, float], dict[str, float], None]  # of a batch: its parts of sums over all tensors, and those


@dataclass(eq=False)
class Row:
    """Parameters of one group with one step count: they share every number of the host."""

    group: dict[str, Any]
    clock: Clock
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
    loss: float = math.nan
    table: list[float] = field(default_factory=list[float])

    def prepare(self, grads: Sequence[Tensor | None], loss: float) -> None:
        """All of a step that can fail."""
        self.loss = loss
        mine = grads if len(self.index) == len(grads) else [grads[i] for i in self.index]
        self.grads = [local(g) for g in mine if g is not None] if self.launch.sharded else mine
        self.launch.place(self.grads)
        for row in self.rows:
            row.t, row.before = row.clock.step + 1, row.clock.numbers
            row.every, row.numbers = {}, []
        self.table = self.count(0)

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
        for row in self.rows:
            row.clock.set(row.t, self.compiled.kept(row.numbers))

    def rehearsal(self) -> Run:
        """The sums over all tensors that a run yields, as zeros."""
        for step in self.compiled.plan.steps:
            if isinstance(step, Gather):
                yield {str(x.arg): 0.0 for x in step.everys}


def send(steps: Generator[Any, Any, None], value: Any) -> Any:
    """What a generator yields next, or None at its end."""
    try:
        return steps.send(value)
    except StopIteration:
        return None


class Arrangement:
    """The launches of a step, and what must still hold for them to be right."""

    @torch.no_grad()
    def __init__(self, opt: Optimizer, params: Sequence[Tensor], grads: Sequence[Tensor | None]):
        if any(group.get("mode") == "eval" for group in opt.param_groups):
            name = type(opt).__name__
            raise RuntimeError(f"{name}: the model holds the weights that eval() put there; call train() before step()")
        self.params, self.missing = list(params), [g is None for g in grads]
        self.batches = batches(opt, params, grads)
        self.values = list(chain.from_iterable(map(dict.values, opt.state.values())))
        made = [(row.group, batch.compiled) for batch in self.batches for row in batch.rows]
        self.fixed = [
            (group, opt.flags(group), [opt.compiled(group), *(x for own, x in made if own is group)])
            for group in opt.param_groups
        ]
        self.everys = Counter(k for batch in self.batches for k in batch.compiled.plan.everys)
        if self.gather([(run, part) for batch in self.batches if (part := next(run := batch.rehearsal(), None))]):
            raise ValueError(
                f"{type(opt).__name__}: groups wear their mods in different orders, and each waits for a norm over all "
                "parameters that the other has first; give mods that look at all parameters in one order"
            )
        self.loss = any(batch.compiled.loss for batch in self.batches)
        self.moved = [b.p for batch in self.batches for b in batch.bound]

    def holds(self, opt: Optimizer, params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> bool:
        """True if the launches are still right: the same parameters with gradients, the same state, the same flags."""
        values = list(chain.from_iterable(map(dict.values, opt.state.values())))
        if (
            len(params) != len(self.params)
            or len(values) != len(self.values)
            or len(opt.param_groups) != len(self.fixed)
            or not all(map(is_, params, self.params))
            or not all(map(is_, values, self.values))
            or [g is None for g in grads] != self.missing
        ):
            return False
        for group, (seen, fixed, compiled) in zip(opt.param_groups, self.fixed, strict=False):
            if group is not seen or opt.flags(group) != fixed or not all(x.fits(group) for x in compiled):
                return False
        return True

    def step(self, grads: Sequence[Tensor | None], loss: float = math.nan) -> None:
        """New values for all: first everything that can fail, then everything that changes."""
        for batch in self.batches:
            batch.prepare(grads, loss)
        runs = [batch.run() for batch in self.batches]
        if arrived := [(run, part) for run in runs if (part := send(run, None))]:
            self.gather(arrived)
        if self.moved:
            torch.autograd.graph.increment_version(self.moved)

    def gather(self, arrived: list[tuple[Run, dict[str, float]]]) -> list[tuple[Run, dict[str, float]]]:
        """Add up what batches have for sums over all tensors; each goes on when all that it waits for are whole.

        Returns those that wait for each other.
        """
        totals, parts, waiting = dict[str, float](), Counter[str](), list[tuple[Run, dict[str, float]]]()
        while arrived:
            for _, part in arrived:
                totals |= {k: totals.get(k, 0.0) + x for k, x in part.items()}
                parts.update(part.keys())
            whole = {k for k, n in parts.items() if n == self.everys[k]}
            waiting += arrived
            ready = [(run, part) for run, part in waiting if part.keys() <= whole]
            waiting = [(run, part) for run, part in waiting if not part.keys() <= whole]
            sent = [(run, send(run, {k: totals[k] for k in part})) for run, part in ready]
            arrived = [(run, part) for run, part in sent if part]
        return waiting


def batches(opt: Optimizer, params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Batch]:
    """Sort the parameters that have gradients into launches and rows; make the states that are missing."""
    place = [(group, p) for group in opt.param_groups for p in group["params"]]
    live = [(i, group, p, g) for i, ((group, p), g) in enumerate(zip(place, grads, strict=True)) if g is not None]
    for i, group, p, g in live:
        check(opt, i, group, p, g)
    found: dict[tuple[Any, ...], Batch] = {}
    newest: dict[str, Tensor] = {}  # of what all parameters share: the tensor of the one that has moved most
    for state in sorted(opt.state.values(), key=lambda x: float(x.get("step", 0))):
        newest |= state
    shared: dict[str, Tensor] = {}  # and the one that they will share
    for i, group, p, g in live:
        compiled = opt.compiled(group, p)
        keys, numbers = keys_of(opt, compiled), numbers_of(compiled)
        state = begin(opt, compiled, group, p)
        for k in numbers:
            if compiled.program.start[k].arg == "shared":
                state[k] = shared.setdefault(k, newest.get(k, state[k]).detach().clone())
        types = tuple(state[key].dtype for key in keys.values())
        backend = opt.backend or backend_for(p.device)
        sparse = g.layout is not torch.strided
        kind = (compiled, backend, p.device, p.dtype, g.dtype, types, sparse)
        batch = found.setdefault(kind, Batch(compiled, backend, sparse))
        counted = {key: float(state[key]) for key in ("step", *numbers)}
        row = next((r for r, x in enumerate(batch.rows) if x.group is group and tell(x.clock) == counted), None)
        if row is None:
            row = len(batch.rows)
            own = {k: x for k, x in counted.items() if k != "step" and k not in shared}
            batch.rows.append(Row(group, Clock(counted["step"], own, {k: shared[k] for k in numbers if k in shared})))
        batch.bound.append(Bound(p, state | batch.rows[row].clock.tensors, keys, row, i))
        batch.index.append(i)
    for batch in found.values():
        batch.launch = launch(batch.backend, batch.compiled.plan, batch.bound, batch.sparse)
    for bound in [b for batch in found.values() for b in batch.bound]:  # nothing has failed: now it may be kept
        opt.state[bound.p].update(bound.state)
        bound.state = opt.state[bound.p]
    for state in opt.state.values():
        state.update({k: x for k, x in shared.items() if k in state})
    return list(found.values())


def tell(clock: Clock) -> dict[str, float]:
    """What the tensors of a clock say."""
    return {"step": clock.step, **clock.numbers}


def check(opt: Optimizer, i: int, group: Mapping[str, Any], p: Tensor, g: Tensor) -> None:
    """One clear error for a gradient or a state that no rule here can take."""
    who = f"{type(opt).__name__}: parameter {i} of shape {tuple(p.shape)}"
    if g.layout is not torch.strided:
        check_sparse(opt, who, group, p, g)
    elif not opt.dense:
        raise RuntimeError(
            f"{who} has a dense gradient, and {type(opt).__name__} takes sparse ones only; use ravine.Adam, "
            "or sparse gradients, as nn.Embedding(sparse=True) makes them"
        )
    if g.shape != p.shape:
        raise RuntimeError(f"{who} has a gradient of shape {tuple(g.shape)}")
    if g.device != p.device:
        raise RuntimeError(f"{who} is on {p.device} and its gradient on {g.device}")
    if p.dtype not in TYPES or g.dtype not in TYPES:
        raise RuntimeError(f"{who} is {p.dtype} and its gradient {g.dtype}; both must be one of {TYPES}")
    compiled = opt.compiled(group, p)
    plan = compiled.plan
    if local(p) is not p and (len(plan.steps) > 1 or any(x.shape != FULL for x in plan.start.values() if x.shape)):
        raise RuntimeError(f"{who} is distributed, and {type(opt).__name__} needs whole tensors: it sums over them")
    for k, start in compiled.program.start.items() if opt.state.get(p) else ():
        x = opt.state[p].get(opt.key(k))
        if x is None or start.shape is HOST:
            continue
        if list(x.shape) != shape_of(start, p, plan.view) or x.device != p.device:
            raise RuntimeError(
                f"{who} is on {p.device}; its state {opt.key(k)} is of shape {tuple(x.shape)} on {x.device}. "
                "Parameters keep shape and device between steps: delete opt.state[p], or make a new optimizer"
            )


def check_sparse(opt: Optimizer, who: str, group: Mapping[str, Any], p: Tensor, g: Tensor) -> None:
    """One clear error for a sparse gradient that this rule cannot take row by row."""
    name = type(opt).__name__
    if not opt.sparse or g.layout is not torch.sparse_coo:
        raise RuntimeError(
            f"{who} has a sparse gradient ({g.layout}); SGD, Adagrad, Adam, AdamW and SparseAdam take these, in "
            "torch.sparse_coo. Use one of them, or a dense gradient, as nn.Embedding(sparse=False) makes it"
        )
    if not elementwise(opt.compiled(group, p).plan):
        worn = f" with mods {[type(mod).__name__ for mod in group['mods']]}" if group["mods"] else ""
        raise RuntimeError(
            f"{who} has a sparse gradient, and {name}{worn} needs the whole tensor: it sums over it, knows its size "
            "or adds noise. Use a dense gradient, as nn.Embedding(sparse=False) makes it"
        )
    if local(p) is not p:
        raise RuntimeError(f"{who} is distributed and has a sparse gradient; use a dense one")
