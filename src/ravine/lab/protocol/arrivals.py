"""How long methods take to a target: what searches keep, a miss at the end of the budget; and ratios to a baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy
from scipy.special import stdtr, stdtrit

from .best_of import pseudo_values
from .judged import starts
from .outcome import Method
from .statistics import LEVEL
from .trial import Result


@dataclass(frozen=True)
class Arrivals:
    """Of one method: what each of its runs adds to the mean over all searches, as in the verdict."""

    logs: tuple[float, ...]  # of the time at which the run that is kept arrives, or of the budget where it never does
    missed: float  # share of the searches that keep a run which never does
    apart: float  # how far apart evaluations are where it arrives, in logs: arrivals are known to that


@dataclass(frozen=True)
class Ratio:
    """Times of a method by those of the baseline, as a difference of mean logs."""

    mean: float
    variance: float  # of that mean; infinite of one run
    freedom: float

    def interval(self, tests: int = 1) -> tuple[float, float, float]:
        """Where its 95 % interval begins, the ratio, where it ends. Of so many intervals all hold at once
        (Bonferroni)."""
        half = math.inf
        if math.isfinite(self.variance):
            half = float(stdtrit(self.freedom, 1 - LEVEL / tests / 2)) * math.sqrt(self.variance)
        return exp(self.mean - half), exp(self.mean), exp(self.mean + half)

    def p(self, tests: int = 1) -> float:
        """Of a ratio this far from 1, where it is 1: a two-sided t-test, corrected as the interval is."""
        if self.mean == 0 or self.variance in (0, math.inf):
            return float(self.mean == 0 or self.variance > 0)
        return min(1.0, tests * 2 * float(stdtr(self.freedom, -abs(self.mean) / math.sqrt(self.variance))))


def exp(log: float) -> float:
    """A ratio from its log; infinite where it is too large for a number."""
    return math.exp(log) if log < 700 else math.inf


def of(method: Method, target: float, budget: float) -> Arrivals:
    """Of the runs that the verdict is about: those of the search, or of its one setting."""
    runs, search = [p.result for p in method.tried] or method.tuned, method.search if method.tried else 1
    return arrivals(
        [(r.step, r.valid, r.diverged_at is not None) for r in runs], _kept_by(runs), search, target, budget
    )


def arrivals(
    runs: Sequence[tuple[Sequence[float], Sequence[float], bool]], kept_by: Sequence[float], search: int,
    target: float, budget: float,
) -> Arrivals:  # fmt: skip
    """From the times, the losses and whether it diverged of each run. A run arrives at the evaluation from which on its
    loss stays at or below the target; a search keeps the run with the lowest `kept_by`."""
    rows = [_arrival(at, losses, target, budget) if not lost else (math.log(budget), 1.0, 0.0)
            for at, losses, lost in runs]  # fmt: skip
    logs, missed, apart = pseudo_values(kept_by, numpy.array(rows), search).T.tolist()
    return Arrivals(tuple(logs), round(fmean(missed), 9), fmean(apart))


def never(runs: int, budget: float) -> Arrivals:
    """Of a method that has no run there."""
    return Arrivals((math.log(budget),) * runs, 1.0, 0.0)


def ratio(method: Arrivals, baseline: Arrivals) -> Ratio:
    """Paired run by run, which share point and seed where they can; of other numbers of runs as of independent ones
    (Welch). Where no two differ, the spread is what evaluations leave open: an interval of width w has variance w²/12.
    """
    open_to = (method.apart**2 + baseline.apart**2) / 12
    mean = fmean(method.logs) - fmean(baseline.logs)
    n, least = len(method.logs), min(len(method.logs), len(baseline.logs))
    if least < 2 or method.missed == baseline.missed == 1:  # which of two that never arrive is the slower?
        return Ratio(mean, math.inf, 1)
    if n == len(baseline.logs):
        pairs = [a - b for a, b in zip(method.logs, baseline.logs, strict=True)]
        return Ratio(mean, max(variance(pairs), open_to) / n, n - 1)
    owed = [(variance(x.logs) / len(x.logs), len(x.logs) - 1) for x in (method, baseline)]
    whole = max(sum(v for v, _ in owed), open_to / least)
    return Ratio(mean, whole, max(least - 1, whole**2 / (sum(v**2 / f for v, f in owed) or math.inf)))


def over(ratios: Sequence[Ratio]) -> Ratio:
    """The geometric mean over tasks, each of which was a comparison of its own: an interval for these tasks, not for
    all that might be. Satterthwaite's number of degrees of freedom."""
    count, whole = len(ratios), sum(r.variance for r in ratios)
    owed = sum(r.variance**2 / r.freedom for r in ratios)
    freedom = whole**2 / owed if 0 < owed < math.inf else min(r.freedom for r in ratios)
    return Ratio(fmean(r.mean for r in ratios), whole / count**2, freedom)


def _kept_by(runs: Sequence[Result]) -> list[float]:
    return [x if math.isinf(r.final) else r.final for r, x in zip(runs, starts(runs), strict=True)]


def _arrival(at: Sequence[float], losses: Sequence[float], target: float, budget: float) -> tuple[float, float, float]:
    """The log of the time, whether it is missed, and the logs between it and the evaluation before."""
    first = len(losses)
    while first and losses[first - 1] <= target:
        first -= 1
    if first == len(losses):
        return math.log(budget), 1.0, 0.0
    soonest = next((t for t in at if t > 0), budget)
    here, before = max(at[first], soonest), at[max(first - 1, 0)]
    if not before:  # from the start on: anywhere between the first step and here
        before = 1.0 if here >= 1 else here / 2
    return math.log(here), 0.0, math.log(here / before)
