"""Whose rows move together: the optimizers of all runs, on slices of one tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.expr import FULL, walk
from ravine.compile.launch import elementwise
from ravine.optimizer import Optimizer
from ravine.optimizer.step import again
from ravine.optimizer.swap import weights
from ravine.surfaces.lane import Lane

Maker = Callable[..., torch.optim.Optimizer]


class Crew:
    """One optimizer and the rows that it moves."""

    def __init__(self, opt: torch.optim.Optimizer, row: int, count: int):
        self.opt, self.rows, self.asked = opt, slice(row, row + count), 0

    def step(self) -> None:
        """Make a step of all its rows."""
        self.asked += 1
        self.opt.step()

    def note_momentum(self, out: Tensor) -> None:
        """Write the averages of gradients that it keeps into its rows of `out`; where it keeps none they stay."""
        for opt, group, p, rows in self.parts(out):
            if name := momentum_of(opt.compiled(group, p)):
                rows.copy_(opt.state[p][opt.rule_of(group).key(name)].view(rows.shape))

    def note_shown(self, out: Tensor) -> None:
        """Write the weights to evaluate, as `opt.eval()` shows them, into its rows of `out` where they are others."""
        for opt, group, p, rows in self.parts(out):
            compiled = opt.compiled(group, p)
            if (shown := compiled.program.shown) is not None:
                value = weights(opt, shown, compiled.plan.view, group, p.detach(), opt.state[p])
                rows.copy_(value.view(rows.shape))

    def parts(self, out: Tensor) -> Iterator[tuple[Optimizer, dict[str, Any], Tensor, Tensor]]:
        """Each group of ravine's, its parameter, and its rows of `out`."""
        at = self.rows.start
        for group in self.opt.param_groups if isinstance(self.opt, Optimizer) else ():
            for p in group["params"]:
                count = p.numel() // out[0].numel()
                yield self.opt, group, p, out[at : at + count]  # pyright: ignore[reportReturnType]
                at += count


class Together(Crew):
    """One optimizer and all its rows. Nobody else holds them, so after the first step the launches that it has
    arranged are run without asking again whether they still are right; that would be half of the time."""

    opt: Optimizer

    def step(self) -> None:
        self.asked += 1
        again(self.opt)


class ByLoss(Crew):
    """An optimizer that is given the loss of its run."""

    def __init__(self, opt: Optimizer, row: int, lane: Lane):
        super().__init__(opt, row, 1)
        self.loss = lane.losses[row]

    def step(self) -> None:
        self.asked += 1
        self.opt.step(loss=self.loss)  # pyright: ignore[reportCallIssue]


class ByClosure(Crew):
    """Whatever else is an optimizer: it asks for as many gradients as it likes."""

    def __init__(self, opt: torch.optim.Optimizer, row: int, lane: Lane, p: Tensor):
        super().__init__(opt, row, 1)
        self.lane, self.p = lane, p

    def step(self) -> None:
        self.opt.step(self.closure)  # pyright: ignore[reportCallIssue, reportArgumentType]  # torch says float

    def closure(self) -> Tensor:
        """The loss of its run, with new gradients."""
        self.asked += 1
        self.opt.zero_grad()
        loss = self.lane.loss(self.rows.start, self.p)
        loss.backward()
        return loss


def crews(maker: Maker, alike: Sequence[tuple[Mapping[str, Any], int]], lane: Lane, row: int) -> Iterator[Crew]:
    """The optimizers for the rows from `row` on: so many with these settings, then so many with the next ones."""
    groups, first = list[dict[str, Any]](), row
    for settings, count in alike:
        one = maker([lane.leaf(row)], **settings)
        if isinstance(one, Optimizer) and by_rows(program(one)):
            groups.append({"params": [lane.leaf(row, count)], **settings})
        elif isinstance(one, Optimizer) and by_tensors(program(one)):
            groups.append({"params": [lane.leaf(i) for i in range(row, row + count)], **settings})
        else:
            if groups:
                yield Together(maker(groups), first, row - first)
            for i in range(row, row + count):
                p = lane.leaf(i)
                yield alone(maker([p], **settings), i, lane, p)
            groups, first = [], row + count
        row += count
    if groups:
        yield Together(maker(groups), first, row - first)


def alone(opt: torch.optim.Optimizer, row: int, lane: Lane, p: Tensor) -> Crew:
    """The crew of one row."""
    if not isinstance(opt, Optimizer):
        return ByClosure(opt, row, lane, p)
    return ByLoss(opt, row, lane) if program(opt).program.inputs else Crew(opt, row, 1)


def program(opt: Optimizer) -> Compiled:
    """What moves its first parameter."""
    group = opt.param_groups[0]
    return opt.compiled(group, group["params"][0])


def by_rows(compiled: Compiled) -> bool:
    """True if rows move together as they would move alone: nothing looks at more than an element, and no chance."""
    return elementwise(compiled.plan) and by_tensors(compiled)


def by_tensors(compiled: Compiled) -> bool:
    """True if tensors move together as they would move alone: nothing looks at more than one, and no chance."""
    plan = compiled.plan
    drawn = plan.chance or any(x.op == "normal" for x in walk(plan.outputs.values()))
    return not (plan.gathers or drawn or compiled.program.inputs)


def momentum_of(compiled: Compiled) -> str | None:
    """The state that averages gradients: the rule's first m, v or b that may be negative; None where there is none."""
    whole = {k: x for k, x in compiled.program.start.items() if x.op == "fill" and x.shape == FULL and not x.arg}
    return next((k for k in whole if k[0] in "mvb"), None)
