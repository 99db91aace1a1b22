"""What people type: names, which one is meant, and settings such as lr=0.1. It needs no torch, for `ravine --help`."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def plain(typed: str) -> str:
    """A name without case, dashes, underscores, dots and spaces, which do not count."""
    return "".join(letter for letter in typed.lower() if letter.isalnum())


def nearest(typed: str, known: Iterable[str], most: int = 1, least: float = 0.5) -> list[str]:
    """The known names that are most like what was typed, best first; `least` is how alike, from 0 to 1."""
    written = {plain(name): name for name in known}
    return [written[x] for x in get_close_matches(plain(typed), written, most, least)]


def hint(typed: str, known: Iterable[str], most: int = 1, least: float = 0.5) -> str:
    """ "did you mean adam or adan? ", to begin the rest of an error with; nothing where no known name is near."""
    near = nearest(typed, known, most, least)
    return f"did you mean {' or '.join(near)}? " if near else ""


def listed(text: str) -> tuple[str, ...]:
    """What was typed with commas; those in brackets, as in betas=(0.9,0.99), divide nothing."""
    return tuple(part for part in divided(text, ",") if part)


def divided(text: str, at: str) -> list[str]:
    """The parts between letters `at` that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth = max(0, depth + (letter in "([") - (letter in ")]"))
        if letter == at and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def assigned(text: str, example: str = "end=0.1") -> tuple[str, Any]:
    """`end=0.1` as a name and a value: a number, a tuple, True, False or None as Python has them, else a word."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise ValueError(f"{text!r} is no FIELD=VALUE, such as {example}")
    if value.lower() in ("true", "false", "none"):
        value = value.capitalize()
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return name, value
