"""What happens between the phases of a step, where sums over all tensors meet.

Here adds up what the launches of an optimizer have, on the host. Others: Parts (zero.py) adds up over processes that
have different parameters, Device (capture.py) on the GPU; Previous and Measured (alone.py) serve a parameter that moves
by itself. Group (shares.py) comes before all of them: processes that have parts of the same tensors add these up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ravine.compile.plan import Reduce
from ravine.compile.watch import GUARD
from ravine.optimizer.bind import Call


class Member(Protocol):
    """Parameters that have a part in sums over all tensors."""

    def parts(self, reduce: Reduce) -> Mapping[str, float]: ...
    def take(self, totals: Mapping[str, float]) -> None: ...


@dataclass(frozen=True, eq=False)
class Round:
    """What happens up to the next exchange, and that exchange."""

    calls: Sequence[Call]  # Host phases of all batches first: they can fail, and nothing has changed
    arrived: Sequence[tuple[Member, Reduce]]  # who then has its part of sums over all tensors
    ready: Sequence[tuple[Member, Reduce]]  # who goes on: all batches have arrived at the sums that it waits for
    whole: frozenset[str]  # the marks of the sums that this exchange completes


class Exchange(Protocol):
    """What happens between the phases of a step."""

    def __call__(self, now: Round) -> None:
        """Add up the parts of those that have arrived, and give those that are ready the sums that they wait for.

        Raises GivenUp to make no step: nothing has changed yet.
        """


class GivenUp(Exception):
    """The step is not made, and nothing has changed."""


class NonFinite(GivenUp):
    """A gradient is NaN or infinite."""


class Here:
    """All launches are in this process, and the host adds up."""

    def __init__(self):
        self.totals: dict[str, float] = {}

    def __call__(self, now: Round) -> None:
        totals = self.totals
        for batch, reduce in now.arrived:
            totals |= {k: totals.get(k, 0.0) + x for k, x in batch.parts(reduce).items()}
        self.complete(now)
        if GUARD in now.whole and not math.isfinite(totals[GUARD]):
            raise NonFinite
        for batch, reduce in now.ready:
            batch.take({k: totals[k] for k in reduce.marks})

    def complete(self, now: Round) -> None:
        """Add what other processes have."""
