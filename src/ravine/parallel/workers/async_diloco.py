"""Asynchronous DiLoCo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ravine.parallel.server.handle import Handle
from ravine.parallel.server.talk import Talk
from ravine.parallel.workers.worker import Worker
from ravine.rule.hyper import integer
from ravine.saved import finite, whole


class AsyncDiLoCo(Worker):
    """Sends a server how far H local steps have moved the weights; the server takes that as a gradient.

        θ ← the server's parameters, x ← θ
        x ← the driven optimizer's step          H times
        send Δ = θ − x                           and begin the next round

    The driven optimizer keeps its state on the worker, from round to round. No worker waits for another, so Δ arrives
    late. Plain momentum on the server does harm then; `DelayedNesterov` is the paper's remedy.

    server: one whose rule is made for this, such as `DelayedNesterov(lr=0.7, momentum=0.9, every=workers)`.
    sync_every: H.
    dynamic: DyLU. Every worker makes H v / v_max local steps, where v is its own speed and v_max that of the fastest,
        so that all rounds take the same time, and none is very late.

    Liu et al. 2024                       https://arxiv.org/abs/2401.09135
    DiLoCo: Douillard et al. 2023         https://arxiv.org/abs/2311.08105
    """

    papers = ("liu2024async", "douillard2023diloco")
    fields = ("sync_every", "dynamic", "count", "planned", "fastest")
    keeps = ("read",)

    sync_every: int
    dynamic: bool
    count: int
    planned: int
    fastest: float

    def __init__(self, server: Handle, opt: torch.optim.Optimizer, *, sync_every: int = 50, dynamic: bool = False):
        sync_every = integer("AsyncDiLoCo: sync_every", sync_every)
        note = {"sync_every": sync_every, "dynamic": dynamic, "count": 0, "planned": sync_every, "fastest": 0.0}
        super().__init__(server, opt, **self.valid(note))

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(note["dynamic"], bool):
            raise ValueError(f"AsyncDiLoCo: dynamic is {note['dynamic']!r}; it must be True or False")
        least = {"sync_every": 1, "count": 0, "planned": 1}
        return {
            "dynamic": note["dynamic"],
            "fastest": finite("AsyncDiLoCo: fastest", note["fastest"], 0.0, 1e308, where=""),
            **{k: whole(f"AsyncDiLoCo: {k}", note[k], low, where="") for k, low in least.items()},
        }

    def begin(self) -> Talk:
        yield from super().begin()
        self.anchor()

    def anchor(self) -> None:
        """A round begins here, and now."""
        self.began = self.clock()
        for p in self.params:
            self.kept[p]["read"] = p.detach().clone()

    def moves(self, **given: Any) -> Talk:
        self.local(**given)
        self.count += 1
        if self.count < self.planned:
            return
        moved = {k: self.kept[p]["read"] - p.detach() for k, p in self.tensors.items()}
        speed = self.count / max(self.clock() - self.began, 1e-9) if self.dynamic else 0.0
        yield from self.call(self.client.push(moved, want="after", speed=speed))
        self.count = 0
        if self.dynamic:
            self.fastest = max(self.client.fastest, speed)
            self.planned = max(1, int(self.sync_every * speed / self.fastest))
        self.anchor()
