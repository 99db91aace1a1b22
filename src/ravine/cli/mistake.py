"""A mistake that the person can mend, and the one line that says it."""

import sys
import unicodedata
from contextlib import suppress


class Mistake(ValueError):
    """What was given, what was expected, what to do: something the person can mend, never a fault of ravine's own."""


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds; where that is closed or full, nothing."""
    line = " ".join(part.strip() for part in message.splitlines())
    line = "".join(x if x.isprintable() or unicodedata.category(x) == "Zs" else repr(x)[1:-1] for x in line)
    with suppress(OSError):
        print(f"ravine: {line}", file=sys.stderr, flush=True)
