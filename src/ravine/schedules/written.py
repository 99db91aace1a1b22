"""A schedule as a person writes it in a line: a name, or a product of them, as warmup=500*cosine(end=0.1)."""

from __future__ import annotations

import re
from functools import reduce
from operator import mul
from typing import Any

from ravine.schedules.by_name import create, find
from ravine.schedules.schedule import Schedule
from ravine.typed import assigned, divided, listed

_PART = re.compile(r"([^=()]+?)\s*(?:=\s*([^=]+)|\((.*)\))?")
_LONG = 10**6  # steps of a run that a schedule is tried for before the run's own length is known


def read(typed: str, total: int) -> Schedule:
    """The schedule that is written so, for a run of `total` steps.

        >>> from ravine.schedules.written import read
        >>> read("warmup=500*cosine(end=0.1)", total=10_000)
        Warmup(steps=500, start=None) * Cosine(total=10000, end=0.1)

    Each factor is a name as `ravine schedule` lists them, with fields in parentheses; after = stands the first of them,
    which for a warm-up is its steps. The length of the run is for all factors, also for those beside a warm-up.
    """
    return reduce(mul, (create(name, total, **given) for name, given in _parts(typed)))


def written(typed: str) -> str:
    """The one form of what was typed so; ValueError or TypeError where it means nothing.

    >>> from ravine.schedules.written import written
    >>> written("Warmup=500 * SGDR"), written("Cosine(end=.1)")
    ('warmup=500*warm-restarts', 'cosine(end=0.1)')
    """
    read(typed, _LONG)
    return "*".join(_said(name, given) for name, given in _parts(typed))


def _parts(typed: str) -> list[tuple[str, dict[str, Any]]]:
    """Of each factor the name and the fields."""
    out: list[tuple[str, dict[str, Any]]] = []
    for text in divided(typed, "*"):
        if not (found := _PART.fullmatch(text)):
            raise ValueError(f"'{text}' is no schedule, such as cosine, warmup=500 or cosine(end=0.1)")
        name, first, fields = found.groups()
        cls = find(name)
        given = dict(assigned(x) for x in listed(fields or ""))
        if first is not None:
            given = dict([assigned(f"{_first(cls, text)}={first}")])
        for field, why in (("total", "it is the length of the run"), ("name", "the name comes first")):
            if field in given:
                raise ValueError(f"'{text}': leave out {field}: {why}")
        out.append((cls.name, given))
    return out


def _first(cls: type[Schedule], text: str) -> str:
    """The field that = gives: the first, where that is not the length of the run."""
    name = next(iter(getattr(cls, "__dataclass_fields__", {})), "total")
    if name == "total":
        raise ValueError(f"'{text}': {cls.name} has no number of its own before the length of the run; write its "
                         f"fields in parentheses, as cosine(end=0.1)")  # fmt: skip
    return name


def _said(name: str, given: dict[str, Any]) -> str:
    """A factor as it is written."""
    cls = find(name)
    if len(given) == 1 and next(iter(given)) == next(iter(getattr(cls, "__dataclass_fields__", {})), None):
        return f"{name}={_value(next(iter(given.values())))}"
    return f"{name}({','.join(f'{k}={_value(x)}' for k, x in given.items())})" if given else name


def _value(x: Any) -> str:
    return (x if isinstance(x, str) else repr(x)).replace(" ", "")
