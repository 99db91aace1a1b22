"""A hook that belongs to one model: its copies, in memory and in files, are not watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod


class Hook:
    """Calls a method of a watcher, for as long as there is one. In a copied or pickled model it is `nothing`.

    A bound method in its place would take the watcher, and the optimizer that this knows, into every copy of the model.
    """

    def __init__(self, method: Callable[..., Any], *first: Any):
        self.method, self.first = WeakMethod(method), first

    def __call__(self, *args: Any) -> None:
        if (method := self.method()) is not None:
            method(*self.first, *args)

    def __reduce__(self) -> tuple[Any, ...]:
        return silent, ()


def nothing(*_: Any) -> None:
    """The hook of a copy."""


def silent() -> Callable[..., None]:
    """What a hook is copied as."""
    return nothing
