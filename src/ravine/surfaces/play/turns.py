"""Who computes when: one at a time, a long answer lets shorter ones pass, and nobody computes for one who has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

LEVELS = 3


class Left(Exception):
    """Nobody waits for this answer any more."""


class Turns:
    """The one place where answers are computed: torch's work would only share the same cores.

    An answer's level is 0 where somebody's hand waits for it, and higher the longer it may take.
    """

    def __init__(self) -> None:
        self.free = Condition()
        self.taken = False
        self.counts = [0] * LEVELS  # of each level, how many wait or compute

    def urgent(self, level: int) -> bool:
        """True if somebody goes before this level."""
        return any(self.counts[:level])

    def take(self, level: int) -> None:
        """Wait for the place."""
        with self.free:
            self.counts[level] += 1
            self.free.wait_for(lambda: not self.taken and not self.urgent(level))
            self.taken = True

    def give(self, level: int) -> None:
        """Leave the place."""
        with self.free:
            self.counts[level] -= 1
            self.taken = False
            self.free.notify_all()


class Work:
    """One answer: which part of it is done, and whether somebody still waits for it."""

    def __init__(self, turns: Turns, level: int):
        self.turns, self.level = turns, level
        self.part, self.left = 0.0, False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Its time to compute."""
        self.turns.take(self.level)
        try:
            self(0.0)
            yield
        finally:
            self.turns.give(self.level)

    def __call__(self, part: float) -> None:
        """Between two of its steps: so much is done. Raises Left if nobody waits for the rest."""
        self.part = part
        if self.turns.urgent(self.level):
            self.turns.give(self.level)
            self.turns.take(self.level)
        if self.left:
            raise Left
