"""How long things take: distributions of seconds, each drawn from one uniform number."""

from __future__ import annotations

import csv
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.saved import finite
from ravine.typed import assigned, hint, plain

MOST = 1e12  # seconds
Array = NDArray[np.float64]


class Distribution:
    """Of seconds, or of any number that is not negative. A subclass says its mean and its quantiles.

    A draw is the quantile of a uniform number, so one draw takes one number of a generator, whatever the distribution.
    """

    @property
    def mean(self) -> float:
        """Its mean; infinite where it has none."""
        raise NotImplementedError(f"{type(self).__name__} has no mean")

    def quantiles(self, u: Array) -> Array:
        """The values below which these parts of all draws lie, u in [0, 1)."""
        raise NotImplementedError(f"{type(self).__name__} has no quantiles()")

    def quantile(self, u: float) -> float:
        """The value below which this part of all draws lies."""
        if not 0 <= u < 1:
            raise ValueError(f"{type(self).__name__}: u is {u!r}; a quantile is asked for u from 0 to 1, without 1")
        return float(self.quantiles(np.array([u]))[0])

    def draw(self, generator: np.random.Generator, n: int) -> Array:
        """n values."""
        return self.quantiles(generator.random(n))


def checked(who: str, what: str, x: Any, low: float = 0.0) -> float:
    """A number of a distribution, or a ValueError."""
    return finite(f"{who}: {what}", x, low, MOST, where="")


@dataclass(frozen=True)
class Constant(Distribution):
    """Always the same."""

    seconds: float = 1.0

    def __post_init__(self):
        checked("Constant", "seconds", self.seconds)

    @property
    def mean(self) -> float:
        return self.seconds

    def quantiles(self, u: Array) -> Array:
        return np.full_like(u, self.seconds)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Anything between two ends."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self):
        checked("Uniform", "low", self.low)
        checked("Uniform", "high", self.high, self.low)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    def quantiles(self, u: Array) -> Array:
        return self.low + (self.high - self.low) * u


@dataclass(frozen=True)
class Exponential(Distribution):
    """Without memory: F(x) = 1 − exp(−x / mean), as published analyses of asynchronous SGD assume."""

    mean: float = 1.0  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self):
        checked("Exponential", "mean", self.mean)

    def quantiles(self, u: Array) -> Array:
        return -self.mean * np.log1p(-u)


@dataclass(frozen=True)
class ShiftedExponential(Distribution):
    """At least `shift`, and an exponential time more: shift + Exponential(tail)."""

    shift: float = 1.0
    tail: float = 1.0

    def __post_init__(self):
        checked("ShiftedExponential", "shift", self.shift)
        checked("ShiftedExponential", "tail", self.tail)

    @property
    def mean(self) -> float:
        return self.shift + self.tail

    def quantiles(self, u: Array) -> Array:
        return self.shift - self.tail * np.log1p(-u)


@dataclass(frozen=True)
class Pareto(Distribution):
    """Heavy-tailed stragglers: F(x) = 1 − (least / x)^shape. With shape ≤ 1 the mean is infinite."""

    least: float = 1.0
    shape: float = 2.0

    def __post_init__(self):
        checked("Pareto", "least", self.least)
        checked("Pareto", "shape", self.shape, 1e-6)

    @property
    def mean(self) -> float:
        return self.least * self.shape / (self.shape - 1) if self.shape > 1 else math.inf

    def quantiles(self, u: Array) -> Array:
        return self.least * (1 - u) ** (-1 / self.shape)


@dataclass(frozen=True)
class LogNormal(Distribution):
    """exp of a normal number: half of the draws are below `median`, and log(x) has standard deviation `sigma`."""

    median: float = 1.0
    sigma: float = 1.0

    def __post_init__(self):
        checked("LogNormal", "median", self.median)
        checked("LogNormal", "sigma", self.sigma)

    @property
    def mean(self) -> float:
        return self.median * math.exp(self.sigma**2 / 2)

    def quantiles(self, u: Array) -> Array:
        if not self.sigma:
            return np.full_like(u, self.median)
        return self.median * np.exp(self.sigma * torch.special.ndtri(torch.from_numpy(np.asarray(u))).numpy())


@dataclass(frozen=True)
class Empirical(Distribution):
    """What was measured, each value as likely as the others. Order in time is not kept."""

    values: tuple[float, ...]

    def __init__(self, values: Sequence[float]):
        kept = tuple(sorted(checked("Empirical", "a value", float(x)) for x in values))
        if not kept:
            raise ValueError("Empirical: there are no values; give what was measured")
        object.__setattr__(self, "values", kept)
        object.__setattr__(self, "_array", np.array(kept))

    @classmethod
    def read(cls, path: str | Path, column: str | int = 0) -> Empirical:
        """From a column of a CSV file: its name in the first line, or its number in a file without names."""
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        if isinstance(column, str):
            names = rows[0] if rows else []
            if column not in names:
                raise ValueError(f"{path} has no column '{column}'; it has {', '.join(names) or 'no lines'}")
            column, rows = names.index(column), rows[1:]
        try:
            return cls([float(row[column]) for row in rows])
        except (ValueError, IndexError) as error:
            raise ValueError(f"{path}: column {column} must be numbers of at least 0 ({error})") from None

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    def quantiles(self, u: Array) -> Array:
        values: Array = self._array  # pyright: ignore[reportAttributeAccessIssue]
        return values[(u * len(values)).astype(np.int64)]

    def __repr__(self) -> str:
        return f"Empirical({len(self.values)} values, mean {self.mean:.4g} s)"


KINDS: dict[str, type[Distribution]] = {
    plain(x.__name__): x for x in (Constant, Uniform, Exponential, ShiftedExponential, Pareto, LogNormal)
}


def distribution(typed: str | float | Distribution) -> Distribution:
    """What a person types as a distribution.

        >>> from ravine.parallel.simulate import distribution
        >>> distribution("0.1"), distribution("log-normal:median=2,sigma=0.5"), distribution("exponential:0.1")
        (Constant(seconds=0.1), LogNormal(median=2.0, sigma=0.5), Exponential(mean=0.1))

    A number is a constant. A name may be followed by its fields in order or by name, in seconds; `empirical:FILE` and
    `empirical:FILE:COLUMN` read a CSV file. Raises ValueError, with what is known, for anything else.
    """
    if isinstance(typed, Distribution):
        return typed
    try:
        seconds = float(typed)
    except ValueError:
        typed = str(typed)
    else:
        return Constant(seconds)
    name, _, rest = typed.partition(":")
    if plain(name) == "empirical":
        path, _, column = rest.partition(":")
        return Empirical.read(path, int(column) if column.isdigit() else column or 0)
    kind = KINDS.get(plain(name))
    if kind is None:
        known = [x.__name__ for x in KINDS.values()]
        raise ValueError(f"'{typed}' is no distribution: {hint(name, known)}give a number of seconds, or one of "
                         f"{', '.join(known)} or empirical:FILE, such as exponential:mean=0.1")  # fmt: skip
    names, fields = list(inspect.signature(kind).parameters), dict[str, Any]()
    for i, part in enumerate(x for x in rest.split(",") if x):
        if "=" not in part and i < len(names):
            part = f"{names[i]}={part}"
        field, value = assigned(part, f"{names[0]}=0.1")
        if field not in names or field in fields:
            raise ValueError(f"'{typed}': {kind.__name__} takes {', '.join(names)}, each once")
        fields[field] = float(value) if isinstance(value, int) else value
    return kind(**fields)
