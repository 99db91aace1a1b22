"""One step: the phases of all launches in one order, and an exchange wherever sums over all tensors meet.

The order is found once (`schedule`), from the plans alone, so it is the same in every process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile.emit.host import NONE
from ravine.compile.launch.base import recording
from ravine.compile.launch.look import Contents, Gradients, writer
from ravine.compile.plan import Reduce
from ravine.compile.watch import GUARD
from ravine.optimizer.bind import Batch, Live, batches
from ravine.optimizer.capture import Device
from ravine.optimizer.exchange import Exchange, GivenUp, Here, Round
from ravine.optimizer.shares import Group
from ravine.optimizer.swap import begin_in_train
from ravine.optimizer.zero import Absent, Parts, absent, numbered

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


def schedule(batches: Sequence[Batch | Absent]) -> list[Round]:
    """The rounds of a step. Each batch runs until its next sum over all tensors, or sum of tensors that lie in parts in
    several processes; it goes on in the round after all batches have arrived at the sums over all tensors that it waits
    for. Raises ValueError where batches wait for each other."""
    left = Counter(mark for batch in batches for mark in batch.compiled.plan.everys)
    cuts = {batch: batch.cuts() for batch in batches}
    moving, waiting, rounds = list(batches), list[tuple[Batch | Absent, Reduce]](), list[Round]()
    while moving:
        parts = [(batch, *next(cuts[batch])) for batch in moving]
        shared = [(b, reduce) for b, *_, reduce in parts if isinstance(b, Batch) and reduce and not reduce.all]
        arrived = [(batch, reduce) for batch, *_, reduce in parts if reduce is not None and reduce.all]
        marks = Counter(mark for _, reduce in arrived for mark in reduce.marks)
        left -= marks
        waiting += arrived
        ready = [(batch, reduce) for batch, reduce in waiting if not left.keys() & {*reduce.marks}]
        waiting = [x for x in waiting if x not in ready]
        calls = [call for _, hosts, _, _ in parts for call in hosts] + [call for *_, cs, _ in parts for call in cs]
        share = [Group(shared)] if shared else []
        rounds.append(Round([*calls, *share], arrived, ready, frozenset(marks.keys() - left.keys())))
        moving = [batch for batch in batches if batch in {x for x, _ in (*shared, *ready)}]
    if waiting:
        raise ValueError(
            "groups wear their mods in different orders, and each waits for a norm over all parameters that the other "
            "has first; give mods that look at all parameters in one order"
        )
    return rounds


class Step:
    """The launches of some parameters, what must still hold for them to be right, and a step of them."""

    contents: Contents  # of the states and what leads to them

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
        try:
            self.rounds = schedule([*self.batches, *absent(opt)])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
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

    def run(self, exchange: Exchange) -> None:
        """New values for all that is prepared, or GivenUp, and nothing has changed."""
        try:
            for now in self.rounds:
                for call in now.calls:
                    call()
                if now.arrived:
                    exchange(now)
        except GivenUp:
            for batch in self.batches:
                batch.launch.forget()
            raise
        for batch in self.batches:
            batch.close()
        self.written()


class Whole(Step):
    """A step of all parameters that have gradients."""

    def __init__(self, opt: Optimizer):
        place = numbered(opt)
        live = [(i, group, p, g) for i, group, p in place if (g := p.grad) is not None]
        super().__init__(opt, live, opt.param_groups)
        moving = {i for i, *_ in live}
        self.still = Gradients(p for i, _, p in place if i not in moving)
        self.exchange = Here if opt._zero is None else partial(Parts, opt)
        self.state = opt.state
        self.contents = Contents([opt.state, *opt.state.values(), *(group["params"] for group in opt.param_groups)])
        self.device = Device(opt, self.batches) if any(batch.recorded for batch in self.batches) else None

    def holds(self, opt: Optimizer) -> bool:
        """True if the launches are still right: the same parameters and states, the same flags, no more gradients."""
        return opt.state is self.state and self.right(opt, opt.param_groups) and not self.still.present()

    def step(self, given: Mapping[str, float | Tensor] = NONE, found: Tensor | None = None) -> None:
        """New values for all: first everything that can fail, then everything that changes.

        given: the inputs that are numbers. found: what torch's GradScaler has found, for steps without the host.
        """
        exchange = self.exchange() if self.device is None else self.device.begin(found)
        for batch in self.batches:
            batch.prepare(batch.launch.live.held(), given)
        self.run(exchange)
        if self.device is not None:
            self.device.end()

    def blame(self, opt: Optimizer) -> str:
        """Which parameter has a gradient that is not finite, after NonFinite."""
        for batch in self.batches:
            plan = batch.launch.plan
            place = next(plan.sums.index(x.src[0]) for phase in plan.gathers for x in phase.sums if x.arg == GUARD)
            for i in (~batch.launch.sums[:, place].isfinite()).nonzero().flatten().tolist():
                return accused(opt, batch.index[i], batch.bound[i].p)
        return "the gradient of a parameter that another process steps is NaN or infinite; nothing has changed"


def again(opt: Optimizer) -> None:
    """A step of the launches of the last one, without asking whether they still are right: for tensors and gradients
    that nobody else holds. The first is an ordinary step."""
    if opt._arranged is None:
        opt.step()
    else:
        opt._arranged.step()


def accused(opt: Optimizer, i: int, p: Tensor) -> str:
    """What is said of a parameter whose gradient is not finite."""
    names = [name for group in opt.param_groups for name in group.get("param_names", ())]
    who = f"'{names[i]}'" if names else f"parameter {i}"
    return (
        f"the gradient of {who} of shape {tuple(p.shape)} is NaN or infinite; nothing has changed. Give a smaller lr "
        "or a modifier that clips, or pass over such steps with nonfinite='skip'"
    )
