"""Checks shared by every load_state_dict, and how values are written in their errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from reprlib import Repr
from typing import Any

import torch
from torch import Tensor

from ravine.compile.geometry import local
from ravine.compile.launch.memory import PLAIN, lacks

MOST = 2**53  # the largest count a float64 holds exactly


def entries(who: str, given: Any, wanted: Iterable[str], *, only: bool = False) -> dict[str, Any]:
    """A state_dict that has these entries, and with `only` no others; or a ValueError."""
    wanted = set(wanted)
    if not isinstance(given, Mapping):
        raise ValueError(f"this is not a state_dict of {who}: {told(given)}; it must be a dict")
    if missing := wanted - given.keys():
        raise ValueError(f"this is not a state_dict of {who}: it has no {', '.join(sorted(missing))}")
    if only and (more := given.keys() - wanted):
        raise ValueError(f"this is not a state_dict of {who}: it has {', '.join(sorted(map(told, more)))}")
    return dict(given)


def python_number(x: Any) -> Any:
    """A number of NumPy as Python's own, which every checkpoint can hold; a tensor stays one."""
    return x.item() if hasattr(x, "item") and not isinstance(x, Tensor) and getattr(x, "size", 1) == 1 else x


def whole(what: str, x: Any, least: int = 0, where: str = " in the state_dict") -> int:
    """A saved number as a whole one of at least so much, or a ValueError."""
    if isinstance(x, bool | Tensor) or not hasattr(x, "__index__") or not least <= int(x) <= MOST:
        raise ValueError(f"{what} is {told(x)}{where}; it must be a whole number from {least} to 2**53")
    return int(x)


def finite(what: str, x: Any, low: float, high: float, where: str = " in the state_dict") -> float:
    """A saved number as a float from low to high, or a ValueError; with infinite ends any but NaN."""
    x = python_number(x)
    if (
        not isinstance(x, float) and (isinstance(x, bool) or not isinstance(x, int) or abs(x) > MOST)
    ) or not low <= x <= high:
        raise ValueError(f"{what} is {told(x)}{where}; it must be a number from {low:g} to {high:g}")
    return float(x)


def has_memory(x: Tensor) -> bool:
    """True if a tensor's numbers can be read: not where its storage was freed, or for one that has none."""
    x = local(x)
    if x.layout is not torch.strided or x.is_meta:
        return False
    return type(x) not in PLAIN or not lacks(x)


class Told(Repr):
    """A repr of a few words that reads no tensor: one may be large, or its memory freed."""

    def __init__(self):
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, Tensor):
            return f"a tensor of {x.dtype} and shape {tuple(x.shape)}".replace("torch.", "")
        return super().repr1(x, level)


def told(x: Any) -> str:
    """What a message says of a value: one line, and not a long one."""
    try:
        return in_short(Told().repr(x))
    except ValueError:  # an int with too many digits to be written
        return "an int of thousands of digits"


def in_short(text: str) -> str:
    """A text as one line, and not a long one."""
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
