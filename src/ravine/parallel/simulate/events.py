"""The clock of a simulation: what is to happen, in the order of time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Event = tuple[float, int, int, Callable[..., None], tuple[Any, ...]]


class Events:
    """What is to happen. At one time the lower lane comes first, and on one lane what was planned first.

    So the order depends on nothing but times and lanes: not on which worker was made first.
    """

    def __init__(self):
        self.now = 0.0
        self.count = 0
        self.stopped = False
        self.heap: list[Event] = []

    def plan(self, time: float, lane: int, do: Callable[..., None], *args: Any) -> None:
        """Let it happen then."""
        self.count += 1
        heappush(self.heap, (time, lane, self.count, do, args))

    def run(self, until: float) -> None:
        """Let all happen that is due until then, what is planned meanwhile too; `stopped` ends it before."""
        heap = self.heap
        while heap and not self.stopped and heap[0][0] <= until:
            self.now, _, _, do, args = heappop(heap)
            do(*args)
        if not self.stopped:
            self.now = max(self.now, until)
