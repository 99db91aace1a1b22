"""CUDA without the host: its numbers are made on the device, so that a step waits for nothing and can be recorded.

What a step is given lies in tables: numbers that the host has (hyperparameters) are sent when they have changed, those
that lie on the device (lr as a tensor, an input, what a GradScaler has found) are copied there. A CUDA graph that is
recorded sends both tables itself, from memory that is kept for it, and so depends on no later step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.compile.emit.triton import BLOCK, prologue
from ravine.compile.launch.base import Bound, recording
from ravine.compile.launch.triton import Triton
from ravine.compile.path import number_of
from ravine.compile.plan import Matrix, Plan


class Recorded(Triton):
    """A launch with the clocks of its rows; its numbers never leave the device."""

    recorded = True

    def __init__(self, plan: Plan, bound: list[Bound]):
        if any(isinstance(phase, Matrix) for phase in plan.phases):
            raise RuntimeError("capturable=True takes no rules with matrix operations, which torch runs; leave it out")
        if plan.draws and (cut := [b for b in bound if b.extent.offset is None]):
            raise RuntimeError(
                f"parameter {cut[0].index} of shape {tuple(cut[0].p.shape)} is distributed, and its elements here do "
                "not lie together in the whole tensor: capturable=True takes no noise and no random rounding for "
                "these; leave it out, or shard the first dimension"
            )
        super().__init__(plan, bound)
        self.rows = 1 + max(b.row for b in bound)
        self.clock = self.send(self.clock_table())
        self.names = prologue.given(plan)
        self.sent: list[list[float]] = []
        width = 1 + len(self.names)
        self.given = torch.zeros(self.rows, width, dtype=torch.float64, device=self.device)
        base = torch.zeros(prologue.FRONT + len(self.values), dtype=torch.float64, device=self.device)
        self.values, self.made_step = base[prologue.FRONT :], base[0]
        self.kept: list[Tensor] = []  # memory from which graphs that were recorded send their tables
        self.spare: list[Tensor] = []
        self.provide()

    def provide(self) -> None:
        """Page-locked memory for the tables of the next graph: none can be had while one is recorded."""
        if self.device.type == "cuda" and not self.spare:
            self.spare = [torch.empty_like(x, device="cpu", pin_memory=True) for x in (self.pointers, self.given)]

    def send(self, table: Tensor, to: Tensor | None = None) -> Tensor:
        if to is None or not recording(self.device):
            return super().send(table, to)
        place = next((x for x in self.spare if (x.dtype, x.shape) == (table.dtype, table.shape)), None)
        if place is None:
            raise RuntimeError("two graphs are recorded with no step between; make one step outside of them first")
        self.spare = [x for x in self.spare if x is not place]
        self.kept.append(place)
        return to.copy_(place.copy_(table), non_blocking=True)

    def clock_table(self) -> Tensor:
        """The addresses of the step count and the other numbers of each row."""
        return torch.tensor([x.data_ptr() for x in self.clocks], dtype=torch.int64, device="cpu")

    def place(self, grads: Sequence[Tensor]) -> bool:
        if recording(self.device):
            self.ready, self.sent = False, []  # the graph sends both tables
        else:
            self.provide()
        if moved := super().place(grads):
            self.send(self.clock_table(), self.clock)
        return moved

    def take(self, groups: Sequence[Mapping[str, Any]], given: Mapping[str, Any], found: Tensor | None) -> None:
        """Take what a step is given: the hyperparameters of each row, its inputs, and GradScaler's verdict."""
        here = [
            [found, *(given[name] if name in given else number_of(group, name) for name in self.names)]
            for group in groups
        ]
        sent = [[0.0 if x is None or isinstance(x, Tensor) else float(x) for x in row] for row in here]
        if sent != self.sent:
            self.sent = sent
            self.send(torch.tensor(sent, dtype=torch.float64, device="cpu"), self.given)
        for to, row in zip(self.given, here, strict=True):
            for place, x in enumerate(row):
                if isinstance(x, Tensor):
                    to[place].copy_(x.detach().reshape(()), non_blocking=True)

    def share(self, totals: Mapping[str, Tensor]) -> None:
        """Take the sums over all tensors by their marks, which all launches share."""
        self.total = {mark: totals[mark] for mark in self.plan.everys}
        self.totals = self.send(
            torch.tensor([x.data_ptr() for x in self.total.values()], dtype=torch.int64, device="cpu")
        )

    def stage(self, i: int) -> None:
        """The numbers that are known after i sums over all tensors."""
        with self.current():
            self.code[f"stage{i}"][(self.rows,)](self.clock, self.given, self.totals, self.values)

    def over_all(self, place: int) -> float:
        with self.current():
            self.code[f"gather{place}"][(1,)](self.sums, self.totals, len(self.bound), BLOCK)
        return 0.0

    def close(self) -> None:
        """The step is over: the clocks move on."""
        with self.current():
            self.code["close"][(1,)](self.clock, self.values, self.rows)
