"""What processes exchange that have parts of the same tensors (DTensor): after a Reduce phase, their partial sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.compile.expr import Expr
from ravine.compile.plan import Reduce

if TYPE_CHECKING:
    from ravine.optimizer.bind import Batch


class Group:
    """The exchange after a Reduce phase: one all-reduce for all tensors together, for each axis of the mesh that cuts
    them, and one more where largest numbers are wanted beside sums.

    The order of the all-reduces follows from plans and placements, so it is the same in every process.
    """

    def __init__(self, reductions: Sequence[tuple[Batch, Reduce]]):
        found: defaultdict[tuple[int, Any, str], list[tuple[Batch, Expr, list[int]]]] = defaultdict(list)
        self.empty: list[tuple[Batch, Expr, list[int]]] = []  # tensors that have no element here: no kernel sees them
        for batch, reduce in reductions:
            for x in reduce.sums:
                at: defaultdict[tuple[int, Any, str], list[int]] = defaultdict(list)
                for i, b in enumerate(batch.bound):
                    for axis in batch.crossed(x, b) if all(b.extent.whole) else ():
                        at[axis, b.extent.mesh.get_group(axis), x.op].append(i)
                for key, which in at.items():
                    found[key].append((batch, x, which))
                none = [i for i in set().union(*at.values()) if not all(batch.bound[i].extent.shape)]
                if none:
                    self.empty.append((batch, x, none))
        self.rounds = [(group, op, found[axis, group, op]) for axis, group, op in sorted(found, key=lambda k: k[0])]

    @torch.no_grad()
    def __call__(self) -> None:
        """Make whole sums of partial ones, in place."""
        for batch, x, which in self.empty:
            for to in batch.launch.results(x, which):
                to.fill_(0.0 if x.op == "sum" else -torch.inf)
        for group, op, what in self.rounds:
            places = [to for batch, x, which in what for to in batch.launch.results(x, which)]
            packed = torch.cat([to.reshape(-1).double() for to in places])
            if op == "amax":
                packed = ordered(packed)
            dist.all_reduce(packed, dist.ReduceOp.SUM if op == "sum" else dist.ReduceOp.MAX, group)
            if op == "amax":
                packed = numbers(packed)
            for to, made in zip(places, packed.split([to.numel() for to in places]), strict=True):
                to.copy_(made.view(to.shape))


def ordered(x: Tensor) -> Tensor:
    """Doubles as integers in the same order, NaN above all: collectives differ in what the larger of it is."""
    bits = torch.where(x.isnan(), torch.nan, x).view(torch.int64)
    return torch.where(bits < 0, bits ^ torch.iinfo(torch.int64).max, bits)


def numbers(x: Tensor) -> Tensor:
    """What such integers stand for."""
    return torch.where(x < 0, x ^ torch.iinfo(torch.int64).max, x).view(torch.float64)
