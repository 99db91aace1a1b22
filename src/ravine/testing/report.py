"""What laws have found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WORDS = {"held": "ok", "broken": "BROKEN", "left out": "-", "reminder": "note"}


@dataclass(frozen=True)
class Line:
    """A law, and what became of it: why it is broken or left out, or what is still to be done."""

    law: str
    what: Literal["held", "broken", "left out", "reminder"]
    why: str = ""

    def __str__(self) -> str:
        return f"{WORDS[self.what]:6}  {self.law}{f': {self.why}' if self.why else ''}"


@dataclass(frozen=True)
class Report:
    """What `check` returns: true if no law is broken, so a test is `assert check(MyRule)`. It prints as a list."""

    rule: str
    lines: tuple[Line, ...]

    @property
    def broken(self) -> list[Line]:
        """The laws that do not hold."""
        return [line for line in self.lines if line.what == "broken"]

    def __bool__(self) -> bool:
        return not self.broken

    def __str__(self) -> str:
        held = sum(line.what == "held" for line in self.lines)
        head = f"{self.rule}: {held} laws hold, {len(self.broken)} broken"
        return "\n".join([head, *(f"  {line}" for line in self.lines)])

    __repr__ = __str__
