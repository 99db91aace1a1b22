"""From JSON to what was written, each value of its field's type: records may be damaged, or a stranger's."""

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .evaluation import LARGEST

LONGEST = 200_000  # letters in a text
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey

T = TypeVar("T")


class Garbled(ValueError):
    """It is not what was written."""


def decoded(kind: type[T], value: Any) -> T:
    """`value`, which comes from JSON, as a `kind`: a dataclass, or what the fields of one may be."""
    return _of(kind, value, kind.__name__ if isinstance(kind, type) else str(kind))


def _of(kind: Any, value: Any, where: str) -> Any:
    if kind is float:
        must(isinstance(value, int | float) and not isinstance(value, bool), where)
        must(abs(value) <= LARGEST or (isinstance(value, float) and not math.isfinite(value)), where)
        return value
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_of(inside, value, where)
    if kind is Any:
        return _any_of((None, bool, int, float, str, tuple[float, ...]), value, where)
    if kind is None or kind is types.NoneType:
        must(value is None, where)
        return None
    if dataclasses.is_dataclass(kind):
        return _object(kind, value, where)
    if origin in (dict, Mapping):
        must(isinstance(value, dict), where)
        return {_of(inside[0], k, where): _of(inside[1], x, f"{where}.{k:.40}") for k, x in value.items()}
    if origin in (list, tuple):
        must(isinstance(value, list), where)
        if origin is list or inside[-1] is Ellipsis:
            return origin(_of(inside[0], x, where) for x in value)
        must(len(value) == len(inside), where)
        return tuple(_of(part, x, where) for part, x in zip(inside, value, strict=True))
    if kind is int:
        must(isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63, where)
    elif kind is bool:
        must(isinstance(value, bool), where)
    else:
        assert kind in (str, Path), kind
        must(isinstance(value, str) and len(value) <= LONGEST and _encodes(value), where)
        return CONTROL.sub("\ufffd", value) if kind is str else Path(value)
    return value


def _any_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return _of(kind, value, where)
        except Garbled:
            continue
    raise Garbled(f"{where} is a {type(value).__name__}")


def _object(kind: Any, value: Any, where: str) -> Any:
    fields, hints = {field.name: field for field in dataclasses.fields(kind) if field.init}, _hints(kind)
    must(isinstance(value, dict) and value.keys() <= fields.keys(), where)
    for name, field in fields.items():
        given = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        must(name in value or given, f"{where}.{name}")
    made = {name: _of(hints[name], x, f"{where}.{name}") for name, x in value.items()}
    try:
        return kind(**made)
    except Garbled as error:
        raise Garbled(f"{where}: {error}") from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def must(holds: bool, where: str, why: str = "is not what was written") -> None:
    """Raises Garbled where it does not hold."""
    if not holds:
        raise Garbled(f"{where} {why}")


def _encodes(text: str) -> bool:
    """Half a character, as of a damaged file name, can be neither printed nor written."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
