"""Where in somebody's file a mistake is."""

from __future__ import annotations

from inspect import getfile
from pathlib import Path
from traceback import extract_tb


def place(cls: type, error: BaseException) -> str:
    """The last line of the class's own file that an error came through, as "mine.py:39"; nothing where it has none."""
    try:
        file = getfile(cls)
    except (OSError, TypeError):  # typed at a prompt
        return ""
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(file).name}:{lines[-1]}" if lines else ""
