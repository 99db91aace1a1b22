"""Who computes when: one at a time, a long answer lets short ones pass, and nobody computes for one who has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Left(Exception):
    """Nobody waits for this answer any more."""


class Turns:
    """The one place where answers are computed: torch's work would only share the same cores."""

    def __init__(self) -> None:
        self.free = Condition()
        self.taken = False
        self.short = 0  # short ones that wait or compute

    def take(self, long: bool) -> None:
        """Wait for the place; a short one goes before a long one."""
        with self.free:
            self.short += not long
            self.free.wait_for(lambda: not self.taken and not (long and self.short))
            self.taken = True

    def give(self, long: bool) -> None:
        """Leave the place."""
        with self.free:
            self.short -= not long
            self.taken = False
            self.free.notify_all()


class Work:
    """One answer: which part of it is done, and whether somebody still waits for it."""

    def __init__(self, turns: Turns, long: bool):
        self.turns, self.long = turns, long
        self.part, self.left = 0.0, False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Its time to compute."""
        self.turns.take(self.long)
        try:
            self(0.0)
            yield
        finally:
            self.turns.give(self.long)

    def __call__(self, part: float) -> None:
        """Between two of its steps: so much is done. Raises Left if nobody waits for the rest."""
        self.part = part
        if self.long and self.turns.short:
            self.turns.give(True)
            self.turns.take(True)
        if self.left:
            raise Left
