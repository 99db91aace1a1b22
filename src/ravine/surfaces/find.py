"""From what a person types to a surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ravine.surfaces.known import EVERY
from ravine.surfaces.surface import Surface
from ravine.typed import hint, plain

BY_NAME = {cls.name: cls for cls in EVERY}
NAMES = tuple(BY_NAME)


def find(name: str, **parameters: Any) -> Surface:
    """The surface of that name; case, dashes, underscores and spaces do not count.

        >>> from ravine.surfaces import find
        >>> find("ravine", condition=30)
        Ravine(condition=30.0, angle=30.0)

    name: one of `NAMES`.
    parameters: of the surface, in the place of its defaults. ValueError and TypeError say what there is.
    """
    called = {plain(known): cls for known, cls in BY_NAME.items()}
    cls = called.get(plain(name))
    if cls is None:
        there = hint(name, NAMES, 2).strip() or f"it is one of {', '.join(NAMES)}"
        raise ValueError(f"unknown surface '{name}': {there}")
    return made(cls, parameters)


def made(cls: type[Surface], parameters: Mapping[str, Any]) -> Surface:
    """The surface with these parameters; TypeError says what it takes."""
    takes = [field.name for field in fields(cls)]  # pyright: ignore[reportArgumentType]
    if unknown := parameters.keys() - takes:
        typed = min(unknown)
        raise TypeError(f"{cls.name or cls.__name__} has no '{typed}': {hint(typed, takes)}"
                        f"It takes {', '.join(takes) or 'no parameters'}")  # fmt: skip
    return cls(**parameters)
