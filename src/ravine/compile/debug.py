"""RAVINE_DEBUG=1..4 prints what the compiler does: 1 plans, 2 host code, 3 emitted source, 4 machine code."""

import os
import sys


def debug(level: int, text: str) -> None:
    """Print `text` on standard error where RAVINE_DEBUG asks for this level."""
    asked = os.environ.get("RAVINE_DEBUG") or "0"
    if asked not in ("0", "1", "2", "3", "4"):
        raise ValueError(f"RAVINE_DEBUG is {asked!r}; it must be 1, 2, 3 or 4, or not set")
    if int(asked) >= level:
        print(f"[ravine] {text}", file=sys.stderr)
