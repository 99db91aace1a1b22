"""Which parameter goes to which rule, to read: what `opt.routes()` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Route(NamedTuple):
    """Where one parameter goes."""

    name: str  # in the model, or its place where it was given without a name
    shape: tuple[int, ...]
    rule: str
    group: int
    why: str  # what chose it: a word of `ravine.groups`, or nothing; "frozen" where it does not move


class Routes(list[Route]):
    """A list of `Route`, which prints as a table and then says how much each rule has."""

    def __str__(self) -> str:
        head = ("name", "shape", "rule", "group", "why")
        rows = [(x.name, "×".join(map(str, x.shape)) or "scalar", x.rule, str(x.group), x.why) for x in self]
        return "\n".join([*lines([head, *rows]), "", *map(self.sum_of, dict.fromkeys(x.rule for x in self))])

    __repr__ = __str__

    def sum_of(self, rule: str) -> str:
        """How much a rule has, in a line."""
        mine = [x for x in self if x.rule == rule]
        count = sum(elements(x.shape) for x in mine)
        return f"{rule}: {len(mine)} parameter{'s' * (len(mine) != 1)}, {count:,} element{'s' * (count != 1)}"


def lines(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table, in columns."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(x.ljust(n) for x, n in zip(row, widths, strict=True)).rstrip() for row in table]


def elements(shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has."""
    count = 1
    for n in shape:
        count *= n
    return count
