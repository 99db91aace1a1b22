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
from ravine.compile.emit.reference import evaluate, extent
from ravine.compile.expr import COL, FULL, HOST, ROW, SCALAR, VECTORS, Expr, Shape
from ravine.compile.launch import Bound, Launch, backend_for, elementwise, launch
from ravine.compile.launch.base import local, real
from ravine.compile.trace import number_of

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer

Run = Generator[dict[str, float], dict[str, float], None]  # of a batch: its parts of sums over all tensors, and those
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128)


@dataclass(eq=False)
class Row:
    """Parameters of one group with one step count: they share every number of the host."""

    group: dict[str, Any]
    clock: Clock
    t: float = 0.0  # the step under way
    numbers: list[float] = field(default_factory=list[float])  # and what the host has computed for it
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
            row.t = row.clock.step + 1
            row.every, row.numbers = {}, []
        self.table = self.count(0)

    def count(self, stage: int) -> list[float]:
        """The host's numbers of all rows, with those of this stage; what is not yet known is 0."""
        width, table, host = len(self.compiled.plan.numbers), list[float](), self.compiled.stages[stage]
        for row in self.rows:
            row.numbers += host(row.t, row.clock.numbers, row.group, self.loss, row.every)
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
        waiting = [(run, part) for run in runs if (part := send(run, None))]
        while waiting:
            waiting = self.gather(waiting)
        if self.moved:
            torch.autograd.graph.increment_version(self.moved)

    def gather(self, waiting: list[tuple[Run, dict[str, float]]]) -> list[tuple[Run, dict[str, float]]]:
        """Add up what batches have for sums over all tensors; those go on whose sums are whole, the others wait."""
        totals: dict[str, float] = {}
        parts: Counter[str] = Counter()
        for _, part in waiting:
            totals |= {k: totals.get(k, 0.0) + x for k, x in part.items()}
            parts.update(part.keys())
        whole = [(run, part) for run, part in waiting if all(parts[k] == self.everys[k] for k in part)]
        assert whole, "batches wait for each other"
        held = [pair for pair in waiting if pair not in whole]
        return held + [(run, part) for run, _ in whole if (part := send(run, totals))]

    def share(self, opt: Optimizer) -> None:
        """Give the numbers that all parameters share to those that had no gradient in the steps of this arrangement."""
        for batch in self.batches:
            for k, x in batch.compiled.program.start.items():
                if x.arg == "shared" and x.op == "fill":
                    newest = batch.rows[0].clock.numbers[k]
                    for state in opt.state.values():
                        if k in state:
                            state[k].fill_(newest)


def batches(opt: Optimizer, params: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Batch]:
    """Sort the parameters that have gradients into launches and rows; make the states that are missing."""
    place = [(group, p) for group in opt.param_groups for p in group["params"]]
    live = [(i, group, p, g) for i, ((group, p), g) in enumerate(zip(place, grads, strict=True)) if g is not None]
    for i, group, p, g in live:
        check(opt, i, group, p, g)
    found: dict[tuple[Any, ...], Batch] = {}
    newest: dict[str, Tensor] = {}  # of what all parameters share: the value of the one that has moved most
    for state in sorted(opt.state.values(), key=lambda x: float(x.get("step", 0))):
        newest |= state
    for i, group, p, g in live:
        compiled = opt.compiled(group, p)
        keys, numbers = keys_of(opt, compiled), numbers_of(compiled)
        state = begin(opt, compiled, group, p)
        for k in [k for k in numbers if compiled.program.start[k].arg == "shared" and k in newest]:
            state[k] = newest[k]
        types = tuple(state[key].dtype for key in keys.values())
        backend = opt.backend or backend_for(p.device)
        sparse = g.layout is not torch.strided
        kind = (compiled, backend, p.device, p.dtype, g.dtype, types, sparse)
        batch = found.setdefault(kind, Batch(compiled, backend, sparse))
        counted = {key: float(state[key]) for key in ("step", *numbers)}
        row = next((r for r, x in enumerate(batch.rows) if x.group is group and tell(x.clock) == counted), None)
        if row is None:
            row = len(batch.rows)
            batch.rows.append(Row(group, Clock(counted.pop("step"), counted)))
        batch.bound.append(Bound(p, state | batch.rows[row].clock.tensors, keys, row, i))
        batch.index.append(i)
    for batch in found.values():
        batch.launch = launch(batch.backend, batch.compiled.plan, batch.bound, batch.sparse)
    for bound in [b for batch in found.values() for b in batch.bound]:  # nothing has failed: now it may be kept
        opt.state[bound.p].update(bound.state)
        bound.state = opt.state[bound.p]
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
        if x is not None and start.shape == FULL and (x.shape != p.shape or x.device != p.device):
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


def keys_of(opt: Optimizer, compiled: Compiled) -> dict[str, str]:
    """The rule's names of the states of tensors -> their keys in opt.state[p]."""
    return {k: opt.key(k) for k, x in compiled.program.start.items() if x.shape is not HOST}


def numbers_of(compiled: Compiled) -> list[str]:
    """The keys of the numbers that the host keeps."""
    return [k for k, x in compiled.program.start.items() if x.shape is HOST]


def begin(opt: Optimizer, compiled: Compiled, group: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
    """The state of p with what is missing in it: at the first step all, later what a changed flag brings."""
    state, start = dict(opt.state.get(p, {})), compiled.program.start
    missing = {k: x for k, x in start.items() if state.get(opt.key(k)) is None}
    if missing:
        view = compiled.plan.view
        values = evaluate(missing.values(), lambda x: leaf_value(x, group, p, view), real(p.detach()), view=view)
        for k, x in missing.items():
            state[opt.key(k)] = as_state(values[x], x, group, p, view)
    # a state that came without a count has been stepped: only the first step of some rules is special
    state.setdefault("step", torch.tensor(float(bool(state) and len(missing) != len(start))))
    return state


def leaf_value(x: Expr, group: Mapping[str, Any], p: Tensor, view: str) -> Tensor:
    """What init() may read: the parameter and hyperparameters."""
    if x.op == "p":
        return real(p.detach()).reshape(extent(real(p), FULL, view))
    return torch.tensor(float(number_of(group, str(x.arg))), dtype=torch.float64)


def as_state(value: Tensor, x: Expr, group: Mapping[str, Any], p: Tensor, view: str) -> Tensor:
    """A state as it lies in memory: like the parameter where it has its shape, in its type or in float32."""
    if x.shape is HOST:
        return value.double()
    dtype = type_of(x, group, p)
    if x.shape == FULL:
        out = torch.empty_like(p, dtype=dtype, requires_grad=False)
        real(out).copy_(value.reshape(real(out).shape))
        return out
    if x.shape in VECTORS:
        value = value.reshape(short(p, x.shape, view))
    return value.to(dtype=torch.empty(0, dtype=dtype).real.dtype, device=p.device, copy=True)


def type_of(x: Expr, group: Mapping[str, Any], p: Tensor) -> torch.dtype:
    """The type of a state: the parameter's, or float32 where numbers of 16 bits are few enough or not wanted."""
    wide = group["storage"] == "float32" or x.shape in (SCALAR, *VECTORS)
    return torch.float32 if wide and p.dtype in (torch.bfloat16, torch.float16) else p.dtype


def short(p: Tensor, shape: Shape, view: str) -> list[int]:
    """The shape of a state of rows, columns or matrices: the parameter's, with 1 for what is summed over."""
    if p.dim() < 2:
        return [p.numel() if shape == ROW else 1]
    cut = 1 if view == "first" else p.dim() - 1
    head, rows, cols = p.shape[: cut - 1], p.shape[cut - 1], p.shape[cut:]
    ones = [1] * len(cols)
    return [*head, rows if shape == ROW else 1, *(cols if shape == COL else ones)]
