"""The hyperparameters of an optimizer: its annotated fields, with the checks that bad input meets."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from operator import index
from types import NoneType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from torch import Tensor

SWITCHES = (
    "foreach",
    "fused",
    "differentiable",
)  # torch's: they choose an implementation there


@cache
def fields(cls: type) -> dict[str, tuple[Any, Any]]:
    """{name: (type, default)} of the hyperparameters that `cls` takes, its own first, then the common ones."""
    hints = {k: t for k, t in get_type_hints(cls).items() if get_origin(t) is not ClassVar and not k.startswith("_")}
    hints = {k: tuple[get_args(t)[0], ...] if get_origin(t) is Sequence else t for k, t in hints.items()}
    found: dict[str, tuple[Any, Any]] = {}  # `lr: float = 1` means 1.0
    for base in cls.__mro__:
        for name in inspect.get_annotations(base) if hasattr(base, "twin") else ():
            if name in hints and name != "params":
                default = value_of(f"{cls.__name__}: {name}", hints[name], getattr(cls, name))
                found.setdefault(name, (hints[name], default))
    twin = getattr(cls, "twin", None)
    taken = inspect.signature(twin).parameters if twin else {}
    return found | {name: (bool | None, taken[name].default) for name in SWITCHES if name in taken}


def constants(cls: type) -> dict[str, Any]:
    """{name: value} of the hyperparameters of a base that `cls` fixes as ClassVars: AdamW's decoupled decay."""
    above = {name for base in cls.__mro__[1:] if hasattr(base, "twin") for name in fields(base)}
    return {name: getattr(cls, name) for name in above - fields(cls).keys() if hasattr(cls, name)}


def settle(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given hyperparameters, each of its field's type and in its range, or an error that says what to write."""
    known = fields(cls)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise TypeError(f"{cls.__name__} has no '{name}': {hint}It takes {', '.join(known)}")
    out = {name: value_of(f"{cls.__name__}: {name}", known[name][0], value) for name, value in given.items()}
    if out.get("differentiable"):
        raise ValueError(f"{cls.__name__}: differentiable=True is not possible: a compiled step has no autograd graph")
    for name, value in out.items():
        parts = enumerate(value) if isinstance(value, tuple) else [(None, value)]
        for at, x in parts:
            part = name if at is None else f"{name}[{at}]"
            ranges = INTERVALS | dict(getattr(cls, "ranges", {}))
            within(cls.__name__, part, ranges.get(part, ranges.get(name, "[0, inf)")), x)
    return out


INTERVALS = {"betas": "[0, 1)"}  # of tuples and floats by name; all others are "[0, inf)" unless the class says


def value_of(what: str, kind: Any, value: Any) -> Any:
    """`value` as the annotated type `kind`, or a TypeError that names both."""
    options = get_args(kind)
    if NoneType in options:
        rest = [x for x in options if x is not NoneType]
        return value if value is None or len(rest) > 1 else value_of(what, rest[0], value)
    if get_origin(kind) is Literal:
        if value not in options:
            raise ValueError(f"{what} is {value!r}; it must be one of {', '.join(map(repr, options))}")
        return options[options.index(value)]
    if kind is float or (float in options and get_origin(kind) is not tuple):
        if isinstance(value, Tensor) and Tensor in options:
            if value.numel() != 1:
                raise ValueError(f"{what} is a tensor of {value.numel()} elements; it must have one")
            return value
        if isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, bool) or (not isinstance(value, int | float) and not hasattr(value, "__float__")):
            raise TypeError(f"{what} is {value!r}; it must be a number")
        return float(value)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple | list) or (options[-1] is not Ellipsis and len(value) != len(options)):
            numbers = options[0] is float or float in get_args(options[0])
            kind = "numbers" if numbers else "objects such as " + options[0].__name__
            wanted = kind if options[-1] is Ellipsis else f"{len(options)} {kind}"
            raise TypeError(f"{what} is {value!r}; it must be a tuple of {wanted}")
        kinds = options[:1] * len(value) if options[-1] is Ellipsis else options
        return tuple(value_of(f"{what}[{i}]", kinds[i], x) for i, x in enumerate(value))
    if isinstance(kind, type) and kind not in (bool, int, float, str) and not isinstance(value, kind):
        raise TypeError(f"{what} is {value!r}; it must be a {kind.__name__}")
    if kind is bool and not isinstance(value, bool):
        raise TypeError(f"{what} is {value!r}; it must be True or False")
    return whole(what, value) if kind is int else value


def whole(what: str, value: Any) -> int:
    """A whole number of any library as Python's own, which every checkpoint can hold, or a TypeError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is {value!r}; it must be a whole number")
    return index(value)


def plain(x: Any) -> Any:
    """A number of NumPy as Python's own, which every checkpoint can hold; a tensor stays one."""
    return x.item() if hasattr(x, "item") and not isinstance(x, Tensor) else x


def within(owner: str, name: str, interval: str, x: Any) -> None:
    """Raise unless the number x lies in an interval written as "[0, 1)"."""
    if isinstance(x, bool) or not isinstance(x, float | Tensor):
        return
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = x >= low if interval[0] == "[" else x > low
    below = x <= high if interval[-1] == "]" else x < high
    if math.isnan(x) or not (above and below):
        raise ValueError(f"{owner}: {name} is {float(x):g}; it must lie in {interval}")
