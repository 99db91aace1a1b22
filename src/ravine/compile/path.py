"""Paths to a number in a parameter group: "lr", "betas.1", "mods.0.max_norm"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def split(path: str) -> tuple[str, list[int | str]]:
    """The group's key, and the steps from there: places in a tuple, and attributes."""
    key, *steps = path.split(".")
    return key, [int(step) if step.isdigit() else step for step in steps]


def number_of(group: Mapping[str, Any], path: str) -> Any:
    """The number at this path."""
    key, steps = split(path)
    value = group[key]
    for step in steps:
        value = value[step] if isinstance(step, int) else getattr(value, step)
    return value


def code(group: str, path: str) -> str:
    """The Python expression for the number at this path, in the group of this name."""
    key, steps = split(path)
    return f"{group}[{key!r}]" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def put(group: dict[str, Any], path: str, value: Any) -> None:
    """Set the number at this path. A tuple is exchanged, an attribute is set."""
    key, steps = split(path)
    match steps:
        case []:
            group[key] = value
        case [int(i)]:
            group[key] = type(group[key])([*group[key][:i], value, *group[key][i + 1 :]])
        case [*before, last]:
            setattr(number_of(group, ".".join(map(str, [key, *before]))), str(last), value)
        case _:
            raise KeyError(path)
