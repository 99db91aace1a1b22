"""Gradient release: a parameter moves as soon as its gradient is there, in the middle of backward."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ravine.compile import Compiled
from ravine.compile.emit.host import NONE
from ravine.compile.expr import HOST
from ravine.compile.launch import Changed
from ravine.compile.watch import GUARD
from ravine.optimizer import Optimizer
from ravine.optimizer.alone import Alone, Measured, Pass, Previous
from ravine.optimizer.bind import Batch
from ravine.optimizer.inputs import take
from ravine.optimizer.save import follow
from ravine.optimizer.state import SUMS, movable
from ravine.optimizer.step import accused
from ravine.rule.rule import Rule

WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")  # by name: they need not be imported
DRIVER = "what drives another optimizer needs all gradients or weights at one time: train with it as it is"


def release(model: torch.nn.Module, opt: Optimizer, *, exact: bool = False) -> Released:
    """Step each parameter as its gradient arrives in backward, and free the gradient: they are never all alive.

        >>> import torch, ravine
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> opt = ravine.AdamW(model.parameters(), lr=1e-2)
        >>> released = ravine.release(model, opt)
        >>> model(torch.ones(2, 3)).square().sum().backward()  # every parameter has moved
        >>> [p.grad for p in model.parameters()]
        [None, None, None, None]
        >>> opt.step()  # steps what backward has not reached: here nothing
        >>> released.remove()  # an ordinary optimizer again

    A training loop stays as it is, with schedules, closures and checkpoints, and makes the same steps, bit for bit; to
    the last bits where an ordinary step makes matrix operations of several tensors as one.
    `opt.step()` may be left out where each backward reaches every parameter. To accumulate gradients, hold back the
    steps of all backward passes but the last; what accumulates is alive until then, there is no way around it:

        >>> released = ravine.release(model, opt)
        >>> first, last = torch.randn(2, 3), torch.randn(2, 3)
        >>> with released.accumulate():
        ...     model(first).square().sum().backward()
        >>> model(last).square().sum().backward()

    A sum over all gradients, as in `mods=[ClipNorm(1.0)]`, is not known while they arrive. In its place stands the sum
    of the step before, or of what has arrived so far where that is more, as in the first step: a gradient that is
    suddenly long is clipped at once, though not by its whole norm. With exact=True the sum is the step's own, found by
    a backward pass more: call `released.measure(loss)` before each `loss.backward()` that steps. Rules with a number
    that all parameters share (Prodigy, D-Adaptation, DoG) or that need the loss (MoMo) take exact=True only; so does
    nonfinite="skip" or "raise", which looks at all gradients before anything moves.

    Gradients are gone after backward, so what looks at them there no longer works: `clip_grad_norm_` finds none and
    says nothing (use `ClipNorm`), and GradScaler comes too late (use bfloat16). Each backward is a step: add up losses
    that make one gradient, or accumulate; freeze what a loss passes through and must not train, as the discriminator
    in a generator's turn. A weight that several layers share moves once, when all of its gradient is there, but not
    where reentrant checkpoints share it, which are backward passes of their own: give them use_reentrant=False. A model
    that torch.compile has made one graph of makes all its gradients at once: compile it block by block. After an
    exception in backward some parameters have moved and others have not.

    model: what `opt` was made for; it may have other parameters, and frozen ones may be unfrozen later. Not DDP, which
    averages gradients after they arrive here; FSDP2 (`fully_shard`) averages before.
    opt: an optimizer of ravine; SAM and Lookahead need all gradients or weights at one time.
    exact: take sums over all gradients from `measure(loss)`, and refuse to step without it.

    Raises TypeError or ValueError where this cannot be released, or is released already.

    Pudipeddi et al. 2020    https://arxiv.org/abs/2002.05645
    Lv et al. 2023 (LOMO), Algorithm 1; section 3.3.1: the second pass    https://arxiv.org/abs/2306.09782
    By hooks: https://docs.pytorch.org/tutorials/intermediate/optimizer_step_in_backward_tutorial.html
    """
    name = type(opt).__name__
    if not isinstance(opt, Optimizer):
        why = f"; {DRIVER}" if hasattr(opt, "optimizer") else ""
        raise TypeError(f"release(model, opt) takes a module and an optimizer of ravine, not {name}{why}")
    if opt.driver is not None and (driver := opt.driver()) is not None:
        raise TypeError(f"{type(driver).__name__} drives this {name}; {DRIVER}")
    if wrapped := [cls.__name__ for x in model.modules() for cls in type(x).__mro__ if cls.__name__ in WRAPPERS]:
        raise TypeError(
            f"{wrapped[0]} averages gradients after they have been used here; use torch.distributed.fsdp.fully_shard"
        )
    if any(group["capturable"] for group in opt.param_groups):
        raise ValueError(f"{name}: a released optimizer steps within backward, by the host; leave out capturable=True")
    params = [p for group in opt.param_groups for p in group["params"]]
    here = set(model.parameters())
    if others := [p for p in params if p not in here]:
        raise ValueError(
            f"{len(others)} parameters of this {name} are not in the model, the first of shape "
            f"{tuple(others[0].shape)}; give the model that it was made for, or an nn.ModuleList of several"
        )
    hooks = [hook for p in params for hook in (p._post_accumulate_grad_hooks or {}).values()]
    if any(getattr(hook, "func", None) is arrived for hook in hooks):
        raise ValueError(f"{name}: released already; call remove() on what release() has returned")
    arrays = {k for k, shape in opt._takes.items() if shape is not HOST}
    if before := sorted(arrays.union(*(source.gives for source in opt.sources))):
        raise ValueError(f"{name} is given {', '.join(before)} before a step, and a released one steps within backward")
    for compiled in map(opt.compiled, opt.param_groups):
        inputs = [f"the {k}" for k in compiled.program.inputs]
        if not exact and (inputs or shared(compiled) or GUARD in compiled.plan.everys):
            first = [*inputs, "to look at all gradients before a parameter moves"][0]
            raise ValueError(f"{name} needs {first}: release(model, opt, exact=True), then measure(loss) and backward")
    opt._released = released = Released(opt, exact)
    vars(opt)["_opt_called"] = True  # schedules warn where no step() was called before them
    released.watch(params)
    return released


def is_released(opt: object) -> bool:
    """True for an optimizer of ravine that steps within backward."""
    return isinstance(opt, Optimizer) and opt._released is not None


def shared(compiled: Compiled) -> list[str]:
    """The names of the numbers that all parameters share."""
    return [k for k, x in compiled.program.start.items() if x.arg == "shared"]


def waits(compiled: Compiled) -> bool:
    """True for a program that needs what is known only after backward."""
    return bool(compiled.program.inputs or compiled.plan.everys or shared(compiled))


def added(parts: Mapping[int, float]) -> float:
    """The sum of what parameters have for it, in their order and not in that of their gradients."""
    return sum(parts[i] for i in sorted(parts))


@dataclass(eq=False)
class Turn:
    """One parameter: its place in the optimizer, its launch, and what it has done."""

    p: Tensor
    place: int = -1  # among all parameters of the optimizer; -1 where it is none of them, or no longer
    group: dict[str, Any] = field(default_factory=dict[str, Any])
    launch: Alone | None = None
    moved: int = -1  # the number of the step in which it did last
    measured: bool = False  # and not moved since


class Released:
    """What `ravine.release` returns: the hooks of an optimizer, and what it knows of the step under way."""

    def __init__(self, opt: Optimizer, exact: bool):
        # weak here and in the hooks: the optimizer has this, and Python finds no cycle that leads through a hook
        self.owner, self.exact = ref(opt), exact
        self.turns: list[Turn] = []
        self.handles: list[RemovableHandle] = []
        self.placed = False  # the places of turns are known
        self.number = 0  # of the step under way
        self.parts: defaultdict[str, dict[int, float]] = defaultdict(dict)  # of its sums, by mark and place
        self.so_far: defaultdict[str, float] = defaultdict(float)  # and added up
        self.waiting = False  # while gradients accumulate
        self.measuring: Pass | None = None
        self.given: Mapping[str, float] = NONE  # the inputs that were measured with
        # the shared numbers of each rule as the measured step finds them
        self.found: defaultdict[type[Rule], dict[str, float]] = defaultdict(dict)
        self.skipping = False  # the step that was measured: a gradient is not finite

    # what a user calls

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Let gradients add up in p.grad: around every backward of a step but the last."""
        before, self.waiting = self.waiting, True
        try:
            yield
        finally:
            self.waiting = before

    def measure(self, loss: Tensor, **given: float | Tensor) -> None:
        """Find the next step's sums over all gradients, by a backward pass that moves nothing and keeps the graph.

        By one more for each sum that is made with the help of another (D-Adaptation), by none where the optimizer has
        no sums. Gradients that have accumulated count. A rule that needs the loss is given this one, and other numbers
        by their names.
        """
        self.close()
        opt = self.opt
        if not any(waits(opt.compiled(group)) for group in opt.param_groups):
            return
        kept = {turn.p: turn.p.grad for turn in self.turns if turn.p.grad is not None}
        for p in kept:
            p.grad = None
        self.given, sums = take(opt, {"loss": loss, **given}, begins=False), dict[str, float]()  # pyright: ignore[reportAttributeAccessIssue]  # no capturable here
        self.found.clear()
        try:
            while True:
                self.measuring = now = Pass(kept, sums)
                loss.backward(retain_graph=True)
                reached = {turn.p for turn in now.seen}
                for turn in self.turns:
                    if turn.p in kept and turn.p not in reached:
                        self.gather(now, turn, kept[turn.p])
                whole = {k: added(parts) for k, parts in now.parts.items() if parts.keys() == now.wanted[k]}
                sums |= whole
                self.skipping = not math.isfinite(sums.get(GUARD, 0.0))
                if self.skipping or now.wanted.keys() <= sums.keys():
                    break
                if not whole:
                    raise ValueError("groups wear their mods in different orders, and each waits for the other's sum")
        finally:
            self.measuring = None
            for p, g in kept.items():
                p.grad = g
        for turn in now.seen:
            turn.measured = True
            found = {k: float(opt.state[turn.p][k]) for k in shared(opt.compiled(turn.group, turn.p))}
            self.found[opt.rule_of(turn.group)] |= found
        opt.param_groups[0][SUMS] = sums
        if self.skipping:
            opt._skipped += 1
            if any(group["nonfinite"] == "raise" for group in opt.param_groups):
                place = next(i for i, x in now.parts[GUARD].items() if not math.isfinite(x))
                p = next(turn.p for turn in now.seen if turn.place == place)
                raise FloatingPointError(f"{type(opt).__name__}: {accused(opt, place, p)}")

    def remove(self) -> None:
        """Take the hooks away: an ordinary optimizer again, which goes on from here."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        opt = self.owner()
        if opt is not None and opt._released is self:
            opt.param_groups[0].pop(SUMS, None)
            opt._released = None

    __del__ = remove

    # what the optimizer calls

    def watch(self, params: Iterable[Tensor]) -> None:
        """Put hooks on parameters; on frozen ones too, since they may be unfrozen."""
        for p in filter(movable, params):
            trained, hook = p.requires_grad, partial(arrived, ref(self), len(self.turns))
            self.turns.append(Turn(p))
            self.handles.append(p.requires_grad_().register_post_accumulate_grad_hook(hook))
            p.requires_grad_(trained)
        self.placed = False

    def rest(self) -> None:
        """Step what still has a gradient. The step is over."""
        if hasattr(self.opt, "grad_scale"):
            raise RuntimeError(
                "GradScaler decides after backward whether to step, and a released optimizer has stepped by then, with "
                "scaled gradients: use bfloat16, which needs no scaler, or train without release()"
            )
        for turn in self.turns:
            if turn.p.grad is not None:
                self.move(turn, turn.p.grad)
        self.close()

    def close(self) -> None:
        """The step is over: its sums are now those of the step before."""
        if self.parts:
            first = self.opt.param_groups[0]
            first[SUMS] = first.get(SUMS, {}) | {k: added(parts) for k, parts in self.parts.items()}
            self.parts.clear()
            self.so_far.clear()
        self.number += 1
        self.placed = False

    # what happens to a parameter

    def arrive(self, turn: Turn, g: Tensor) -> None:
        """Its gradient is there."""
        if self.measuring is not None:
            kept = self.measuring.kept.get(turn.p)
            self.gather(self.measuring, turn, g if kept is None else kept + g)
            turn.p.grad = None
        elif not self.waiting:
            self.move(turn, g)

    def move(self, turn: Turn, g: Tensor) -> None:
        """It takes its step, and its gradient is freed."""
        if turn.moved == self.number:  # nobody has called opt.step() since
            self.close()
        opt = self.find()
        if turn.place < 0:
            return
        if self.exact and not turn.measured and waits(opt.compiled(turn.group, turn.p)):
            raise RuntimeError("exact=True: call measure(loss) before the backward or the opt.step() that is to step")
        sums = opt.param_groups[0].get(SUMS, {})

        if not self.skipping:
            self.run(opt, turn, g, Previous(turn.place, turn.measured, sums, self.parts, self.so_far))
            if opt._given:
                follow(opt)
        turn.moved, turn.measured, turn.p.grad = self.number, False, None

    def gather(self, now: Pass, turn: Turn, g: Tensor) -> None:
        """Its part of the sums that can be made in this pass."""
        opt = self.find()
        if turn.place < 0:
            return
        marks = opt.compiled(turn.group, turn.p).plan.everys
        now.seen.append(turn)
        for mark in marks:
            now.wanted[mark].add(turn.place)

        if not now.sums.keys() >= set(marks):
            self.run(opt, turn, g, Measured(turn.place, now))

    def run(self, opt: Optimizer, turn: Turn, g: Tensor, exchange: Previous | Measured) -> None:
        """Its launch, made anew where something has changed."""
        if turn.launch is None or not turn.launch.holds(opt, turn.place, turn.group):
            turn.launch = Alone(opt, turn.place, turn.group, turn.p, g)
        found = self.found[opt.rule_of(turn.group)]
        try:
            turn.launch.step(g, exchange, self.given, found)
        except Changed:
            turn.launch = Alone(opt, turn.place, turn.group, turn.p, g)
            turn.launch.step(g, exchange, self.given, found)

    def find(self) -> Optimizer:
        """The optimizer, with the place of every parameter in it, found once a step."""
        opt = self.opt
        if not self.placed:
            self.placed = True
            places = [(group, p) for group in opt.param_groups for p in group["params"]]
            known = {id(p): (i, group) for i, (group, p) in enumerate(places)}
            for x in self.turns:
                x.place, x.group = known.get(id(x.p), (-1, {}))
        return opt

    @property
    def batches(self) -> list[Batch]:
        """What moved in the last step."""
        last = max((turn.moved for turn in self.turns), default=-1)
        return [turn.launch.batch for turn in self.turns if turn.launch is not None and turn.moved == last]

    @property
    def opt(self) -> Optimizer:
        """The optimizer."""
        if (opt := self.owner()) is None:
            raise RuntimeError("the optimizer that was released is gone: keep it while you train, or call remove()")
        return opt


def arrived(released: ref[Released], number: int, p: Tensor) -> None:
    """The hook: a gradient is there, of all that uses p."""
    if (found := released()) is not None and p.grad is not None:
        found.arrive(found.turns[number], p.grad)
