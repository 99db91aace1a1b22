"""RAVINE_DEBUG=1..4 prints the stages: 1 plans, 2 host code, 3 emitted source, 4 machine code when it is made."""

import os
import sys


def asked() -> int:
    """The level that RAVINE_DEBUG asks for."""
    level = os.environ.get("RAVINE_DEBUG") or "0"
    if level not in ("0", "1", "2", "3", "4"):
        raise ValueError(f"RAVINE_DEBUG is {level!r}; it must be 1, 2, 3 or 4, or not set")
    return int(level)


def debug(level: int, text: str) -> None:
    """Print `text` on standard error where RAVINE_DEBUG asks for this level."""
    if asked() >= level:
        print(f"[ravine] {text}", file=sys.stderr)
