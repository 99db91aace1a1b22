"""The numbers that a person types, and the ranges they may lie in."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ravine.cli.mistake import Mistake


def whole(text: str) -> int:
    """What was typed as a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """What was typed as a number; NaN is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


@dataclass(frozen=True)
class Whole:
    """The whole numbers that an argument may be, both ends included; called with what was typed, as `type=` is."""

    least: int = 1
    most: int = 10**9

    def __call__(self, text: str) -> int:
        try:
            n = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r:.60} is not a whole number") from None
        if not self.least <= n <= self.most:
            raise argparse.ArgumentTypeError(f"{self._must(n)}, and is {_short(n)}")
        return n

    def _must(self, n: int) -> str:
        return f"must be {self.least} or more" if n < self.least else f"must be {self.most:,} or less"

    def check(self, what: str, value: Any) -> None:
        """Raises a Mistake for any other value; None is what was not said."""
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise Mistake(f"{what} {value!r:.60}: must be a whole number")
        if not self.least <= value <= self.most:
            raise Mistake(f"{what} {_short(value)}: {self._must(value)}")


def _short(n: int) -> str:
    return str(n) if abs(n) < 10**40 else "a number of more than 40 digits"


def checked(settings: Any, ranges: Mapping[str, Whole]) -> None:
    """Raises a Mistake for a field of settings, named as its option is, that is out of its range."""
    for name, may in ranges.items():
        may.check(f"--{name.replace('_', '-')}", getattr(settings, name))
