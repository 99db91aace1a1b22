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

SELECTION = 1000  # the first seed of the search, whose points have a seed each: none of these is among the new ones
WIDER = 3  # times that a space may be widened with --extend
FALLBACKS = 3  # points, best first, that may be run with new seeds: the first whose runs all end is reported

Hyper = tuple[tuple[str, Any], ...]
Make = Callable[[Hyper, int], Trial]  # of hyperparameters and a seed
Known = Mapping[Trial, Result]


@dataclass(frozen=True)
class Tier:
    """How much work for each optimizer: points, each tried with a seed of its own; the best one again with new seeds;
    and the defaults. The verdict is about what a search of some of the points is to be expected to find."""

    points: int
    dimensions: int | None  # hyperparameters that are searched; None: all of the space
    seeds: int
    defaults: int
    share: float  # of the task's epochs

    @property
    def search(self) -> int:
        """How many points a search has that the verdict is about: a quarter, and at most 16. In a larger one a few
        points decide, and the jackknife takes the spread for less than it is (benchmarks/null.py)."""
        return max(1, min(16, self.points // 4))

    @property
    def trials(self) -> int:
        """For one optimizer, while no space is widened and no chosen point diverges."""
        return self.points + self.seeds + self.defaults


TIERS = {
    "smoke": Tier(points=8, dimensions=1, seeds=2, defaults=1, share=0.1),
    "standard": Tier(points=32, dimensions=3, seeds=5, defaults=5, share=1.0),
    "full": Tier(points=128, dimensions=None, seeds=10, defaults=10, share=1.0),
}


def selection_seeds(points: int, number: int) -> range:
    """Of the points of a search, another one each."""
    return range(first := SELECTION * (1 + 1000 * number), first + points)


@dataclass(frozen=True)
class Tried:
    """One point of the search: where it lies in the space, and its result."""

    hyper: dict[str, float]
    result: Result


@dataclass(frozen=True)
class Round:
    """A search of one space."""

    space: Space
    points: tuple[Point, ...]
    trials: tuple[Trial, ...]

    def finished(self, known: Known) -> bool:
        """Whether all points are known."""
        return all(trial in known for trial in self.trials)

    def ranked(self, known: Known) -> list[Point]:
        """The points, best first; those that diverged are left out where others did not."""
        order = sorted(zip(self.points, self.trials, strict=True), key=lambda x: known[x[1]].final)
        return [p for p, t in order if math.isfinite(known[t].final)] or [p for p, _ in order]

    def edges(self, known: Known) -> dict[str, str]:
        """Where a better point may lie outside of the space; below it, if everything in it diverges."""
        if all(math.isinf(known[t].final) for t in self.trials):
            return {name: "lowest" for name in self.space if name.startswith("lr")}
        best, *_ = self.ranked(known)
        return edges(dict(best.at), [dict(p.at) for p in self.points], self.space)


@dataclass(frozen=True)
class Study:
    """The trials of one optimizer."""

    entry: Entry
    tier: Tier
    make: Make
    extend: bool = False
    fixed: bool = False  # nothing is searched: the entry says all (the presets)
    number: int = 0  # another has other points and seeds

    def wanted(self, known: Known) -> list[Trial]:
        """All trials that can be named by now, known ones too."""
        if self.fixed:
            return self._seeds(self.entry.hyper, self.tier.seeds)
        rounds = self.rounds(known)
        out = [trial for searched in rounds for trial in searched.trials] + self.reference
        if not rounds[-1].finished(known):
            return out
        return out + [trial for _, runs in self._confirmed(rounds[-1], known) for trial in runs]

    def chosen(self, known: Known) -> tuple[Point, list[Trial]]:
        """The setting to use, and its runs with new seeds: the best of the search, or the next where it diverges with a
        new seed. Where each of three does, it is the best again."""
        if self.fixed:
            return Point(self.entry.hyper, self.entry.hyper), self._seeds(self.entry.hyper, self.tier.seeds)
        confirmed = self._confirmed(self.rounds(known)[-1], known)
        lost = [any(math.isinf(known[run].final) for run in runs) for _, runs in confirmed]
        return confirmed[0 if all(lost) else -1]

    def _confirmed(self, searched: Round, known: Known) -> list[tuple[Point, list[Trial]]]:
        """The points that are run with new seeds, up to the first whose runs do not diverge."""
        out: list[tuple[Point, list[Trial]]] = []
        for point in searched.ranked(known)[:FALLBACKS]:
            out.append((point, self._seeds(point.hyper, self.tier.seeds)))
            if not any(run in known and math.isinf(known[run].final) for run in out[-1][1]):
                break
        return out

    @property
    def reference(self) -> list[Trial]:
        """The defaults, untuned."""
        return [] if self.entry.defaults is None else self._seeds(self.entry.defaults, self.tier.defaults)

    def rounds(self, known: Known) -> list[Round]:
        """The searches: the first, and with `extend` as many points in a wider space while the best lies at an edge."""
        space = dict(list(self.entry.space.items())[: self.tier.dimensions])
        out = [self._round(space)]
        while self.extend and len(out) <= WIDER and out[-1].finished(known):
            if not (found := out[-1].edges(known)):
                break
            out.append(self._round(widened(out[-1].space, found)))
        return out

    def _round(self, space: Space) -> Round:
        found = points(self.entry, space, self.tier.points, self.number)
        seeds = selection_seeds(self.tier.points, self.number)
        return Round(space, tuple(found), tuple(self.make(p.hyper, s) for p, s in zip(found, seeds, strict=True)))

    def _seeds(self, hyper: Hyper, n: int) -> list[Trial]:
        return [self.make(hyper, seed) for seed in range(n)]
