"""From a name the person typed to the thing it names: one of ours, or `module:name` of their own."""

from collections.abc import Mapping
from typing import Any

from ravine.cli.answer import own
from ravine.typed import hint

from .errors import LabError


def find(typed: str, known: Mapping[str, Any], what: str, lists: str = "") -> Any:
    """The entry of `known` called `typed`, or the object at `module:name` on the person's own path.

    lists: the command that lists them, where they are too many for a message.
    """
    if is_own(typed):
        return own(typed, what)
    if typed in known:
        return known[typed]
    there = f"`{lists}` has them all" if lists else f"known are {', '.join(known)}"
    raise LabError(f"unknown {what} '{typed}': {hint(typed, known, 3)}{there}, or your own as module:name")


def is_own(typed: str) -> bool:
    """Whether `typed` is somebody's own, at module:name."""
    return ":" in typed
