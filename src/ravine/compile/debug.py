"""RAVINE_DEBUG=1..4 prints what the compiler does: 1 plans, 2 host code, 3 emitted source, 4 machine code."""

import os
import sys


def debug(level: int, text: str) -> None:
    """Print `text` on standard error where RAVINE_DEBUG asks for this level."""
    if int(os.environ.get("RAVINE_DEBUG") or 0) >= level:
        print(f"[ravine] {text}", file=sys.stderr)
