"""Under torch's ZeroRedundancyOptimizer, which makes an optimizer in each process, of some of the parameters: sums over
all of them are added up over the processes, and each parameter keeps its place among all.

An optimizer is not told for whom it is made, so it asks Python's stack: without that, each process would clip by the
norm of its own part, in silence.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.plan import Reduce
from ravine.optimizer.exchange import Here, Round

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.optimizer.bind import Call

MODULE = "torch.distributed.optim.zero_redundancy_optimizer"


def maker() -> ref[Any] | None:
    """The ZeroRedundancyOptimizer that makes an optimizer now, if one does."""
    if MODULE not in sys.modules:
        return None
    frame = sys._getframe()
    while frame := frame.f_back:
        if frame.f_globals.get("__name__") == MODULE and frame.f_code.co_name == "_init_local_optimizer":
            return ref(frame.f_locals["self"])
    return None


def numbered(opt: Optimizer) -> list[tuple[int, dict[str, Any], Tensor]]:
    """Each parameter with its group and its place among all, those of other processes counted."""
    params = [(group, p) for group in opt.param_groups for p in group["params"]]
    if opt._zero is None or (zero := opt._zero()) is None:
        return [(i, group, p) for i, (group, p) in enumerate(params)]
    return [(zero._param_to_index[p], group, p) for group, p in params]


def send(opt: Optimizer) -> None:
    """Bring the weights of this process's parameters to the others, where these have others."""
    if opt._zero is not None and (zero := opt._zero()) is not None:
        zero._sync_params()


@dataclass(eq=False)
class Absent:
    """In the schedule of a step, the parameters of other processes that move by this program."""

    compiled: Compiled

    def cuts(self) -> Iterator[tuple[list[Call], list[Call], Reduce | None]]:
        """Its sums over all tensors."""
        for reduce in self.compiled.plan.gathers:
            yield [], [], reduce
        yield [], [], None

    def parts(self, reduce: Reduce) -> dict[str, float]:
        """Nothing: others have it."""
        return {}

    def take(self, totals: Mapping[str, float]) -> None:
        """Others do."""


def absent(opt: Optimizer) -> list[Absent]:
    """A stand-in for each program of the parameters of other processes."""
    if opt._zero is None or (zero := opt._zero()) is None:
        return []
    mine = {p for group in opt.param_groups for p in group["params"]}
    others = [
        opt.compiled(group, p)
        for group, all in zip(opt.param_groups, zero.param_groups, strict=True)
        for p in all["params"]
        if p not in mine and p.grad is not None
    ]
    return [Absent(x) for x in dict.fromkeys(others) if x.plan.everys]


class Parts(Here):
    """Each process has some of the parameters: what they have for sums over all is added up over the processes."""

    def __init__(self, opt: Optimizer):
        super().__init__()
        zero: Any = opt._zero and opt._zero()
        self.group, self.device = zero.process_group, zero._default_device

    def complete(self, now: Round) -> None:
        marks = sorted(now.whole)
        if not marks:
            return
        sums = torch.tensor([self.totals.get(k, 0.0) for k in marks], dtype=torch.float64, device=self.device)
        dist.all_reduce(sums, group=self.group)
        self.totals |= zip(marks, sums.tolist(), strict=True)
