"""What the page moves for each hyperparameter: a slider, a switch or a choice, made from the typed field."""

import inspect
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from ravine.optimizer import Optimizer
from ravine.rule.hyper import INTERVALS, SWITCHES, fields

Scale = Literal["linear", "log", "zero-log", "near-one"]
COMMON = (set(fields(Optimizer)) - {"lr"}) | set(SWITCHES) | {"blocks"}  # how a step is made, not where it goes
INFINITE = float("inf")
RATE = (1e-5, 1e1)  # lr of whoever it is; a default outside is taken in


@dataclass(frozen=True)
class Control:
    """One thing to move. A tuple's fields are one each: `part` is its place there."""

    name: str
    part: int | None
    kind: Literal["number", "whole", "switch", "choice"]
    default: Any
    optional: bool = False  # None is allowed, and means that the method chooses
    scale: Scale = "linear"  # how the slider runs; "near-one" in equal ratios of 1 − x, "zero-log" has 0 at its left
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """As the page takes it: there is no infinity in JSON."""
        return {key: repr(x) if x in (INFINITE, -INFINITE) else x for key, x in asdict(self).items()}


def controls(cls: type) -> list[Control]:
    """Those of an optimizer, in the order of its fields; what only concerns how a step is made is left out."""
    out: list[Control] = []
    ranges = INTERVALS | dict(getattr(cls, "ranges", {}))
    for name, (kind, default) in fields(cls).items():
        if name in COMMON:
            continue
        parts = list(enumerate(default)) if isinstance(default, tuple) else [(None, default)]
        kinds = get_args(kind) if isinstance(default, tuple) else (kind,)
        for part, value in parts:
            interval = ranges.get(name if part is None else f"{name}[{part}]", ranges.get(name, "[0, inf)"))
            out.append(control(name, part, kinds[0 if part is None or Ellipsis in kinds else part], value, interval))
    return out


def control(name: str, part: int | None, kind: Any, default: Any, interval: str = "(-inf, inf)") -> Control:
    """The control of a field of this type, default and interval."""
    options = get_args(kind)
    for one in (kind, *options):
        if get_origin(one) is Literal:
            return Control(name, part, "choice", default, one is not kind, choices=get_args(one))
    optional = NoneType in options
    if kind is bool or bool in options:
        return Control(name, part, "switch", default, optional)
    if kind is int or int in options:
        low, high = (float(end) for end in interval[1:-1].split(","))
        usual = 100 if not default else 10 * default
        return Control(name, part, "whole", default, optional, "linear", max(0, low), min(usual, high))
    if name == "lr":
        low, high = min(RATE[0], default or RATE[0]), max(RATE[1], default)
        return Control(name, part, "number", default, optional, "log", low, high)
    scale, low, high = _range(name, default, *(float(end) for end in interval[1:-1].split(",")))
    return Control(name, part, "number", default, optional, scale, low, high)


def _range(name: str, default: float | None, low: float, high: float) -> tuple[Scale, float, float]:
    """A slider's scale and ends within the interval that is allowed; the number box beside it takes all of that."""
    value = 0.0 if default is None or abs(default) == INFINITE else default
    if (high == 1 and (0.8 <= value < 1 or name.startswith("beta"))) or name == "momentum":
        return "near-one", 0.0, 0.9999
    if low == 0 and high == INFINITE:
        return ("log", min(value / 1e3, 1e-4), max(value * 1e3, 1.0)) if value else ("zero-log", 1e-6, 1.0)
    reach = max(1.0, 2 * abs(value))
    return "linear", max(low, -reach), min(high, max(reach, 4 * low))


def meaning(cls: type) -> str:
    """The first sentence of a docstring."""
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]
