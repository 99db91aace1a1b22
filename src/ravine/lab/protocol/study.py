"""What is run of one optimizer, and what of it is reported: points of its space, then the best of them with new seeds.

A study says which trials it wants, given the results so far; asked again after each result, it goes on by itself, and
after a stop it goes on where it was.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .search import Entry, Point, edges, points
from .spaces import Space, widened
from .trial import Result, Trial

SELECTION = 1000  # the first seed that points are chosen with: none of these is reported
WIDER = 3  # times that a space may be widened with --extend

Hyper = tuple[tuple[str, Any], ...]
Make = Callable[[Hyper, int], Trial]  # of hyperparameters and a seed


@dataclass(frozen=True)
class Tier:
    """How much work for each optimizer. A point is tried with one seed, in `studies` independent searches; the best one
    is run again with new seeds, so is the next best with some, and so are the defaults."""

    points: int
    studies: int
    dimensions: int | None  # hyperparameters that are searched; None: all of the space
    seeds: int
    runner_up: int
    defaults: int
    share: float  # of the task's epochs

    @property
    def trials(self) -> int:
        """For one optimizer, while no space is widened."""
        return self.points * self.studies + self.seeds + self.runner_up + self.defaults


TIERS = {
    "smoke": Tier(points=4, studies=1, dimensions=1, seeds=2, runner_up=0, defaults=1, share=0.1),
    "standard": Tier(points=16, studies=1, dimensions=3, seeds=5, runner_up=3, defaults=5, share=1.0),
    "full": Tier(points=16, studies=3, dimensions=None, seeds=10, runner_up=3, defaults=10, share=1.0),
}


@dataclass(frozen=True)
class Tried:
    """One point of the search: where it lies in the space, and its results, which are of the validation data alone."""

    hyper: dict[str, float]
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Round:
    """A search of one space."""

    space: Space
    points: tuple[Point, ...]
    trials: tuple[Trial, ...]

    def tried(self, known: Mapping[Trial, Result]) -> list[Tried]:
        """What each point gave."""
        return [Tried(dict(p.at), (known[t],)) for p, t in zip(self.points, self.trials, strict=True)]

    def ranked(self, known: Mapping[Trial, Result]) -> list[Point]:
        """The points, best first."""
        return [p for p, _ in sorted(zip(self.points, self.trials, strict=True), key=lambda x: known[x[1]].final)]

    def edges(self, known: Mapping[Trial, Result]) -> dict[str, str]:
        """Where a better point may lie outside of the space; below it, if everything in it diverges."""
        best, values = dict(self.ranked(known)[0].at), [dict(p.at) for p in self.points]
        if all(math.isinf(known[t].final) for t in self.trials):
            return {"lr": "lowest"} if "lr" in self.space else {}
        return edges(best, values)


@dataclass(frozen=True)
class Study:
    """The trials of one optimizer."""

    entry: Entry
    tier: Tier
    make: Make
    extend: bool = False
    fixed: bool = False  # nothing is searched: the entry says all (the classic preset)

    def wanted(self, known: Mapping[Trial, Result]) -> list[Trial]:
        """All trials that can be named by now, known ones too."""
        if self.fixed:
            return self._seeds(self.entry.hyper, self.tier.seeds)
        rounds = self.rounds(known)
        out = [trial for searched in rounds for trial in searched.trials] + self.reference
        if any(trial not in known for trial in rounds[-1].trials):
            return out
        best, *others = rounds[-1].ranked(known)
        out += self._seeds(best.hyper, self.tier.seeds)
        return out + (self._seeds(others[0].hyper, self.tier.runner_up) if others else [])

    def best(self, known: Mapping[Trial, Result]) -> Trial:
        """The first of the runs that are reported."""
        if self.fixed:
            return self.make(self.entry.hyper, 0)
        return self.make(self.rounds(known)[-1].ranked(known)[0].hyper, 0)

    @property
    def reference(self) -> list[Trial]:
        """The defaults, untuned."""
        return [] if self.entry.defaults is None else self._seeds(self.entry.defaults, self.tier.defaults)

    def rounds(self, known: Mapping[Trial, Result]) -> list[Round]:
        """The searches: the first, and with `extend` as many points in a wider space while the best lies at an edge."""
        space = dict(list(self.entry.space.items())[: self.tier.dimensions])
        out = [self._round(space)]
        while self.extend and len(out) <= WIDER and all(t in known for t in out[-1].trials):
            if not (found := out[-1].edges(known)):
                break
            out.append(self._round(widened(out[-1].space, found)))
        return out

    def _round(self, space: Space) -> Round:
        found = [(p, study) for study in range(self.tier.studies)
                 for p in points(self.entry, space, self.tier.points, study)]  # fmt: skip
        return Round(space, tuple(p for p, _ in found), tuple(self.make(p.hyper, SELECTION + s) for p, s in found))

    def _seeds(self, hyper: Hyper, n: int) -> list[Trial]:
        return [self.make(hyper, seed) for seed in range(n)]
