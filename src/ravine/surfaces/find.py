"""From what a person types to a surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from ravine.surfaces.known import EVERY
from ravine.surfaces.surface import Surface

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
        near = [called[x].name for x in get_close_matches(plain(name), called, 2, 0.5)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"it is one of {', '.join(NAMES)}"
        raise ValueError(f"unknown surface '{name}': {hint}")
    return made(cls, parameters)


def made(cls: type[Surface], parameters: Mapping[str, Any]) -> Surface:
    """The surface with these parameters; TypeError says what it takes."""
    takes = [field.name for field in fields(cls)]  # pyright: ignore[reportArgumentType]
    if unknown := parameters.keys() - takes:
        near = get_close_matches(min(unknown), takes, 1, 0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise TypeError(
            f"{cls.name or cls.__name__} has no '{min(unknown)}': {hint}It takes {', '.join(takes) or 'no parameters'}"
        )
    return cls(**parameters)


def plain(typed: str) -> str:
    """A name without case, dashes, underscores and spaces."""
    return "".join(letter for letter in typed.lower() if letter.isalnum())
