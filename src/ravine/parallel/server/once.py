"""Which pushes of a worker have been answered, so that each counts once however it is delivered."""

from __future__ import annotations


class Once:
    """The sequence numbers that were seen: all up to `floor`, and some above it that came before their time."""

    def __init__(self, floor: int = 0, above: tuple[int, ...] | list[int] = ()):
        self.floor, self.above = floor, set(above)

    def __contains__(self, sequence: int) -> bool:
        return sequence <= self.floor or sequence in self.above

    def add(self, sequence: int) -> None:
        """See a number."""
        if sequence == self.floor + 1 and not self.above:  # nearly always
            self.floor = sequence
            return
        self.above.add(sequence)
        self.settle(self.floor)

    def settle(self, sequence: int) -> None:
        """No number up to this one will come for the first time."""
        self.floor = max(self.floor, sequence)
        self.above = {x for x in self.above if x > self.floor}
        while self.floor + 1 in self.above:
            self.floor += 1
            self.above.remove(self.floor)
