"""Scores over several tasks: AlgoPerf's, and how long a method takes by the baseline."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from .arrivals import Arrivals, Ratio, never, of, over, ratio
from .outcome import BASELINES, Outcome, stays_at

FURTHEST = 4.0  # times the fastest: who takes longer scores nothing on that task

Times = Mapping[str, Mapping[str, float]]  # task -> method -> steps, or seconds, to the target; infinite for a miss


@dataclass(frozen=True)
class Standing:
    """One method over all tasks."""

    name: str
    score: float
    ratio: Ratio
    missed: float  # share of its searches, over all tasks, that never reach the target


@dataclass(frozen=True)
class Scores:
    """All methods, best score first."""

    standings: tuple[Standing, ...]
    baseline: str  # of AdamW, NAdam, NAG and Momentum the first that has a row on most tasks; else the first by name
    tasks: tuple[str, ...]

    def interval(self, standing: Standing) -> tuple[float, float, float]:
        """Times of a method by the baseline's, and the 95 % interval: all of them hold at once."""
        return standing.ratio.interval(max(1, len(self.standings) - 1))


def ratios(times: Times) -> dict[str, list[float]]:
    """Of each method, for each task its time by the fastest's: infinite for a miss, for a task where it has no time,
    and where nobody arrives."""
    names = dict.fromkeys(name for task in times.values() for name in task)
    return {name: [_by(row.get(name, math.inf), min(row.values())) for row in times.values()] for name in names}


def integrated(by_the_fastest: list[float], furthest: float = FURTHEST) -> float:
    """AlgoPerf's score: the mean height of the performance profile ρ between 1 and `furthest` times the fastest, from 0
    (never so near) to 1 (the fastest everywhere).

        B = ∫₁ʳ ρ(τ) dτ / (r − 1)        r = `furthest`

    A task at ratio x adds (r − x) / (r − 1), a miss nothing. The integral is exact; AlgoPerf's code takes 100 points.
    Dahl et al. 2023, Benchmarking Neural Network Training Algorithms    https://arxiv.org/abs/2306.07179
    """
    return fmean(max(0.0, furthest - x) / (furthest - 1) for x in by_the_fastest)


def times(outcomes: Mapping[str, Outcome]) -> Times:
    """Steps of the mean over seeds to stay at the target, of each task by its name."""
    return {task: {m.name: stays_at(m.tuned, aim(o)) for m in o.methods} for task, o in outcomes.items()}


def aim(outcome: Outcome) -> float:
    """The loss whose reaching is timed; where there is none nobody reaches it."""
    return -math.inf if outcome.aim is None else outcome.aim


def scores(outcomes: Mapping[str, Outcome]) -> Scores:
    """Of the comparisons on several tasks. A method that has no row on a task has missed its target there."""
    reached = {task: {m.name: of(m, aim(o), o.facts.steps) for m in o.methods} for task, o in outcomes.items()}
    known = {m.name: m.card.ours for o in outcomes.values() for m in o.methods}
    budgets = {task: o.facts.steps for task, o in outcomes.items()}
    return ranked(times(outcomes), reached, budgets, known)


def ranked(
    times: Times, reached: Mapping[str, Mapping[str, Arrivals]], budgets: Mapping[str, float], known: Mapping[str, str]
) -> Scores:
    """Best score first, level ones by their ratio to the baseline. `known` are the names of methods in our registry."""
    profile = ratios(times)

    def rank(name: str) -> tuple[int, int, str]:
        usual = BASELINES.index(known[name]) if known[name] in BASELINES else len(BASELINES)
        return -sum(name in row for row in reached.values()), usual, name

    baseline, found = min(profile, key=rank), list[Standing]()
    for name, by_the_fastest in profile.items():
        pairs: list[tuple[Arrivals, Arrivals]] = []
        for task, row in reached.items():
            absent = never(len(next(iter(row.values())).logs), budgets[task])
            pairs.append((row.get(name, absent), row.get(baseline, absent)))
        whole, missed = over([ratio(*pair) for pair in pairs]), fmean(mine.missed for mine, _ in pairs)
        found.append(Standing(name, integrated(by_the_fastest), whole, missed))
    order = sorted(found, key=lambda s: (-s.score, s.ratio.mean))
    return Scores(tuple(order), baseline, tuple(reached))


def _by(time: float, fastest: float) -> float:
    if math.isinf(time):
        return math.inf
    return 1.0 if time <= fastest else time / fastest if fastest > 0 else math.inf
