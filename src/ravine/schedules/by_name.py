"""From what a person types to a schedule for a run."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, get_type_hints

from ravine.rule.hyper import integer
from ravine.schedules.annealing import Cosine, Linear, Polynomial, WarmRestarts
from ravine.schedules.cyclical import ExpRange, Triangular, Triangular2
from ravine.schedules.decay import Exponential, InverseSqrt, InverseTime
from ravine.schedules.one_cycle import OneCycle
from ravine.schedules.plateau import Plateau
from ravine.schedules.schedule import Constant, Schedule
from ravine.schedules.steps import MultiStep, Step
from ravine.schedules.warmup import ExponentialWarmup, UntunedWarmup, Warmup
from ravine.schedules.wsd import WSD
from ravine.typed import hint, plain

# a line here puts a schedule before every law, and into `ravine schedule`
EVERY = (
    *(Constant, Step, MultiStep, Exponential, InverseTime, InverseSqrt, Polynomial, Linear, Cosine, WarmRestarts),
    *(Warmup, ExponentialWarmup, UntunedWarmup, Triangular, Triangular2, ExpRange, OneCycle, WSD, Plateau),
)


def registry() -> Mapping[str, type[Schedule]]:
    """Every schedule by its name."""
    return {cls.name: cls for cls in EVERY}


def names() -> list[str]:
    """The names of all schedules."""
    return list(registry())


def find(typed: str) -> type[Schedule]:
    """The class that `typed` names; case, dashes, underscores and spaces do not count.

    >>> from ravine.schedules import find
    >>> find("one_cycle"), find("SGDR")
    (<class 'ravine.schedules.one_cycle.OneCycle'>, <class 'ravine.schedules.annealing.WarmRestarts'>)
    """
    called = {plain(alias): cls for cls in EVERY for alias in (*cls.aliases, cls.__name__, cls.name)}
    if plain(typed) not in called:
        known = [name for cls in EVERY for name in (*cls.aliases, cls.name)]
        raise ValueError(f"unknown schedule '{typed}': {hint(typed, known, 3)}`ravine schedule` lists them")
    return called[plain(typed)]


def create(name: str, total: int, warmup: int = 0, **fields: Any) -> Schedule:
    """The schedule of that name for a run of `total` steps.

        >>> import ravine
        >>> ravine.schedules.create("cosine", total=1000, warmup=100, end=0.1)
        Warmup(steps=100, start=None).then(100, Cosine(total=900, end=0.1))

    name: as `ravine schedule` lists it, or as it is often called: sgdr, noam, poly, trapezoid.
    total: the steps of the run; each schedule knows what fields suit it.
    warmup: so many of these are a linear warm-up; one that has its own (wsd, inverse-sqrt) takes it as that.
    fields: of the schedule, in the place of those that suit the run.
    """
    cls = find(name)
    takes = {k for k in get_type_hints(cls) if k in getattr(cls, "__dataclass_fields__", {})}
    if unknown := fields.keys() - takes:
        typed = min(unknown)
        raise TypeError(
            f"{cls.name} has no '{typed}': {hint(typed, takes)}It takes {', '.join(sorted(takes)) or 'nothing'}"
        )
    total, warmup = integer("create: total", total), integer("create: warmup", warmup)
    if total < 1:
        raise ValueError(f"create: total is {total!r}; it must be a whole number of steps, at least 1")
    if not 0 <= warmup < total:
        raise ValueError(f"create: warmup is {warmup!r}; it must be a whole number of steps, below total = {total}")
    if "warmup" in takes:
        return cls(**cls.suited(total) | ({"warmup": warmup} if warmup else {}) | fields)
    made = cls(**cls.suited(total - warmup) | fields)
    return Warmup(warmup).then(warmup, made) if warmup else made


def sampled(schedule: Schedule, total: int) -> list[float]:
    """schedule(0) … schedule(total − 1), for a picture. A plateau is told at every step that nothing has improved."""
    schedule, out = deepcopy(schedule), list[float]()
    plateaus = [x for x in schedule.parts() if isinstance(x, Plateau)]
    for t in range(total):
        out.append(schedule(t))
        for plateau in plateaus:
            plateau.report(0.0)
    return out
