"""What a schedule is, and how two make one: times, then, between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform, get_type_hints

from ravine.rule.hyper import value_of, within


@dataclass_transform(frozen_default=True)
class Schedule:
    """A number for every step: `schedule(t)`, where t counts the steps made so far, 0, 1, 2 …

        >>> from ravine.schedules import Cosine, Warmup
        >>> Cosine(100)(50)
        0.5
        >>> lr = Warmup(10) * Cosine(100)  # both at once
        >>> lr = Warmup(10).then(10, Cosine(90))  # one after the other
        >>> decay = Cosine(100).between(0.04, 0.4)  # absolute values, from 0.04 to 0.4

    It multiplies the value that a hyperparameter began with, unless it is `absolute`. t is torch's `last_epoch`, one
    less than the t of a rule: the first step is made with schedule(0), the last of n with schedule(n − 1). A schedule
    with an end stays there. It is a pure function (all but `Plateau`), so a run that is resumed has the same numbers,
    bit for bit; and it is plain data that can be compared, copied and pickled.

    Subclass it as those here do: annotated fields with defaults, and `__call__`. Fields are checked when one is made.
    """

    name: ClassVar[str] = ""  # what `ravine schedule` and create() call it; nothing: it is a part of others
    aliases: ClassVar[tuple[str, ...]] = ()
    papers: ClassVar[tuple[str, ...]] = ()  # keys in papers.bib: what `ravine cite` prints
    ranges: ClassVar[Mapping[str, str]] = {}  # of numbers; others are [0, inf), and whole ones [1, inf)

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        owner, hints = type(self).__name__, get_type_hints(type(self))
        for field in fields(self):  # pyright: ignore[reportArgumentType]
            value = value_of(f"{owner}: {field.name}", hints[field.name], getattr(self, field.name))
            if isinstance(value, int | float) and not isinstance(value, bool):
                usual = "[1, inf)" if isinstance(value, int) else "[0, inf)"
                if isinstance(value, int) and not abs(value) < 2**63:
                    raise ValueError(f"{owner}: {field.name} is too large a number, of {value.bit_length()} bits")
                within(owner, field.name, self.ranges.get(field.name, usual), float(value))
            object.__setattr__(self, field.name, value)

    def __call__(self, t: int) -> float:
        """The number for the step that follows after t steps."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__()")

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        """The fields that suit a run of `total` steps, where nothing else is said: what create() begins from."""
        return {"total": total} if "total" in get_type_hints(cls) else {}

    @property
    def absolute(self) -> bool:
        """True if it gives values themselves, and not multiples of what a hyperparameter began with."""
        return False

    def parts(self) -> Iterator[Schedule]:
        """This one and all that it is made of."""
        yield self
        for value in vars(self).values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Schedule):
                    yield from part.parts()

    def __mul__(self, other: Schedule | float) -> Product:
        """Both at once: their product."""
        if isinstance(other, type):
            raise TypeError(f"{self!r} * {other.__name__}: that is a class; make one: {other.__name__}(…)")
        return Product(self, other if isinstance(other, Schedule) else Constant(other))

    __rmul__ = __mul__

    def then(self, at: int, following: Schedule) -> Then:
        """This one for `at` steps, then `following`, which counts its own steps from 0."""
        return Then(self, at, following)

    def between(self, one: float, zero: float) -> Between:
        """Absolute values: `one` where this is 1, `zero` where it is 0, and in between in proportion."""
        return Between(self, one, zero)


class Constant(Schedule):
    """The same at every step.

        s(t) = c

    Use it as a part: `Constant(0.1).then(5, Constant())` is torch's ConstantLR. With averaged weights, or with an
    optimizer that needs no schedule, it is all there is.

    Robbins & Monro 1951 say why it is not enough elsewhere    https://doi.org/10.1214/aoms/1177729586
    """

    name = "constant"
    papers = ("robbins1951stochastic",)
    factor: float = 1.0

    def __call__(self, t: int) -> float:
        return self.factor


class Product(Schedule):
    """Two schedules at once: their product. `a * b` makes it."""

    first: Schedule
    second: Schedule

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first.absolute and self.second.absolute:
            raise ValueError(f"{self.first} and {self.second} are both absolute values; one of the two is to multiply")

    def __call__(self, t: int) -> float:
        return self.first(t) * self.second(t)

    def __repr__(self) -> str:
        return f"{self.first!r} * {self.second!r}"

    @property
    def absolute(self) -> bool:
        return self.first.absolute or self.second.absolute


class Then(Schedule):
    """One schedule after another. `a.then(at, b)` makes it; at = 0 is b alone."""

    first: Schedule
    at: int
    following: Schedule
    ranges = {"at": "[0, inf)"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first.absolute != self.following.absolute:
            raise ValueError(f"of {self.first} and {self.following} one is absolute; use .between() on both or on all")

    def __call__(self, t: int) -> float:
        return self.first(t) if t < self.at else self.following(t - self.at)

    def __repr__(self) -> str:
        return f"{self.first!r}.then({self.at}, {self.following!r})"

    @property
    def absolute(self) -> bool:
        return self.first.absolute


class Between(Schedule):
    """Absolute values between two ends, in the proportion of a schedule. `a.between(one, zero)` makes it."""

    shape: Schedule
    one: float
    zero: float
    ranges = {"one": "(-inf, inf)", "zero": "(-inf, inf)"}

    def __call__(self, t: int) -> float:
        s = self.shape(t)
        return s * self.one + (1 - s) * self.zero

    def __repr__(self) -> str:
        return f"{self.shape!r}.between({self.one:g}, {self.zero:g})"

    @property
    def absolute(self) -> bool:
        return True
