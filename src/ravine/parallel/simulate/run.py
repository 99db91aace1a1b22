"""What a simulation has found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from ravine.parallel.simulate.trace import Row, Trace

Kind = Literal["computes", "waits", "dead"]
Span = tuple[float, float, Kind]


@dataclass
class Run:
    """What a simulation has found; all times in simulated seconds.

    times, versions, losses: the loss of the server's parameters, at equal distances of time, and how many steps the
        rule had made (of the shard that had made fewest).
    divergence: at the same times the root mean square distance of workers' copies from the server's parameters.
    lanes: for the first workers, what they did from when to when.
    staleness: how many accepted pushes were how stale, over all shards.
    events: gradients that were computed and answered, whatever the answer.
    accepted, refused, duplicates, fenced: pushes, by what the shards said; a push to two shards counts twice.
        acknowledged: accepted ones whose worker has heard of it. lost: accepted, and then lost with a shard that died,
        as the shards know it; died: as it was.
    reasons: how many were refused, and why.
    sent, received: bytes, as workers count them. deaths, shard_deaths: how often.
    order: for each shard (worker, number of the push) of all that counts, in order; with record=True.
    trace: delays, as of a recorded run; with record=True.
    parameters: of the server, in the end.
    """

    name: str
    workers: int
    seed: int
    seconds: float = 0.0
    times: list[float] = field(default_factory=list[float])
    versions: list[int] = field(default_factory=list[int])
    losses: list[float] = field(default_factory=list[float])
    divergence: list[float] = field(default_factory=list[float])
    lanes: list[list[Span]] = field(default_factory=list[list[Span]])
    staleness: Counter[int] = field(default_factory=Counter[int])
    events: int = 0
    accepted: int = 0
    acknowledged: int = 0
    refused: int = 0
    duplicates: int = 0
    fenced: int = 0
    lost: int = 0
    died: int = 0
    deaths: int = 0
    shard_deaths: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    sent: int = 0
    received: int = 0
    order: list[list[tuple[int, int]]] = field(default_factory=list[list[tuple[int, int]]])
    rows: list[Row] = field(default_factory=list[Row])
    parameters: list[Tensor] = field(default_factory=list[Tensor])

    @property
    def loss(self) -> float:
        """The last."""
        return self.losses[-1]

    @property
    def version(self) -> int:
        """Steps of the rule, in all."""
        return self.versions[-1]

    @property
    def mean_staleness(self) -> float:
        """Of accepted pushes."""
        count = sum(self.staleness.values())
        return sum(k * n for k, n in self.staleness.items()) / count if count else math.nan

    @property
    def trace(self) -> Trace:
        """Its delays, as of a recorded run."""
        if not self.rows:
            raise ValueError("this run has kept no delays; simulate it with record=True")
        return Trace(self.rows)

    def time_to(self, loss: float) -> float:
        """When the loss was first so low, as far as it was looked at; infinity if never."""
        return next((t for t, x in zip(self.times, self.losses, strict=True) if x <= loss), math.inf)

    def share(self, kind: Kind) -> float:
        """Which part of the time the workers in `lanes` did this."""
        total = sum(b - a for lane in self.lanes for a, b, _ in lane)
        return sum(b - a for lane in self.lanes for a, b, k in lane if k == kind) / total if total else math.nan


def apart(copies: Sequence[Sequence[Tensor]], center: Sequence[Tensor]) -> float:
    """The root mean square distance of copies from the center."""
    squares = [
        sum(float((x.detach() - c).double().square().sum()) for x, c in zip(copy, center, strict=True))
        for copy in copies
    ]
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0
