"""Judges runs as a comparison does: what a search keeps, intervals for all pairs at once, scores over tasks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from ravine.typed import plain

from ..errors import LabError
from ..protocol.arrivals import Arrivals, arrivals
from ..protocol.judged import sample
from ..protocol.outcome import BASELINES, EASY
from ..protocol.score import Scores, ranked
from ..protocol.statistics import Difference, Sample, differences, letters
from ..protocol.trial import Result
from .run import Run


@dataclass(frozen=True)
class Row:
    """One optimizer on one task."""

    name: str
    letters: str
    value: float  # the loss that is judged, or the log of the time to the target
    behind: Difference | None  # the best; None for the best itself
    time: float  # to the target, of what is kept: the median; infinite where more than half miss
    arrivals: Arrivals
    judged: int  # searches, points or seeds
    run: Run  # of what is kept the one in the middle; the best point, where searches are drawn from points


@dataclass(frozen=True)
class Judged:
    """One task, best first."""

    task: str
    target: float
    given: bool  # the target was set before the runs: times to it are judged, else losses
    part: str  # of the data that losses are of
    budget: float  # the longest run
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Kept:
    """What of an optimizer's runs is judged: searches of so many of them, or (1) these runs themselves."""

    runs: list[Run]
    search: int


def judged(runs: Sequence[Run]) -> tuple[list[Judged], Scores | None, str]:
    """Each task, scores over them where there are several, and the unit of time: seconds where all runs have them."""
    unit = "seconds" if all(r.seconds for r in runs) else "steps"
    tasks = [_task(name, of, unit) for name, of in _by(runs, lambda r: r.task).items()]
    if len(tasks) < 2:
        return tasks, None, unit
    times = {t.task: {row.name: row.time for row in t.rows} for t in tasks}
    reached = {t.task: {row.name: row.arrivals for row in t.rows} for t in tasks}
    known = {row.name: _ours(row.name) for t in tasks for row in t.rows}
    return tasks, ranked(times, reached, {t.task: t.budget for t in tasks}, known), unit


def _task(name: str, runs: list[Run], unit: str) -> Judged:
    targets = {r.target for r in runs}
    if len(targets) > 1:
        raise LabError(f"task '{name}': its runs have several targets, {', '.join(sorted(map(str, targets)))}: one "
                       "task has one, in all of its rows")  # fmt: skip
    (target,) = targets
    given, tested = target is not None, all(r.test is not None for r in runs)
    budget = max(_times(r, unit)[-1] for r in runs)
    if not budget > 0:
        raise LabError(f"task '{name}': no run has an evaluation after the start")
    methods = _by(runs, lambda r: r.optimizer)
    if target is None:
        target = _easy(methods)
    runs_to = {who: [r.until(target) for r in of] if given else of for who, of in methods.items()}

    def arrived(r: Run) -> float:
        found = _arrivals(Kept([r], 1), target, budget, unit)
        return math.inf if found.missed else found.logs[0]

    kept = {who: _kept(of, arrived if given else lambda r: r.final) for who, of in runs_to.items()}
    reached = {who: _arrivals(k, target, budget, unit, arrived if given else None) for who, k in kept.items()}
    worst = max((r.valid[0] for r in runs if math.isfinite(r.valid[0])), default=0.0)
    samples = {who: Sample(reached[who].logs) if given else _losses(k, tested, worst) for who, k in kept.items()}
    order = sorted(samples, key=lambda who: fmean(samples[who].values))
    found = differences([samples[who] for who in order])
    groups = letters(len(order), {pair for pair, d in found.items() if d.distinct})
    runs_of = {who: _best_first(k, arrived if given else lambda r: r.final) for who, k in kept.items()}
    rows = [Row(who, groups[i], fmean(samples[who].values), found.get((0, i)),
                math.exp(median(map(arrived, runs_of[who]))), reached[who], len(kept[who].runs),
                runs_of[who][(len(runs_of[who]) - 1) // 2])
            for i, who in enumerate(order)]  # fmt: skip
    return Judged(name, target, given, "test" if tested else "validation", budget, tuple(rows))


def _kept(runs: Sequence[Run], key: Callable[[Run], float]) -> Kept:
    """Seeds in which several settings were tried are whole searches, of which each keeps its best. Else, of several
    settings one run each, from which searches are drawn as in a comparison. Of one setting all seeds."""
    studies = [of for of in _by(runs, lambda r: r.seed).values() if len({r.setting for r in of}) > 1]
    if len(studies) > 1:
        return Kept([min(of, key=key) for of in studies], 1)
    settings = [of[0] for of in _by(runs, lambda r: r.setting).values()]
    if len(settings) == 1:
        return Kept(list(runs), 1)
    return Kept(settings, max(1, min(16, len(settings) // 4)))


def _best_first(kept: Kept, key: Callable[[Run], float]) -> list[Run]:
    """What is kept, best first: all of it, or the best point of a search."""
    return sorted(kept.runs, key=key)[: 1 if kept.search > 1 else None]


def _arrivals(
    kept: Kept, target: float, budget: float, unit: str, key: Callable[[Run], float] | None = None
) -> Arrivals:
    runs = [(_times(r, unit), r.valid, r.diverged or r.shut) for r in kept.runs]
    return arrivals(runs, [(key or (lambda r: r.final))(r) for r in kept.runs], kept.search, target, budget)


def _losses(kept: Kept, tested: bool, worst: float) -> Sample:
    """As in a comparison, on test data where all runs have them. What diverged counts with its first loss, or with the
    worst first loss of the task where that is not finite."""
    runs = [
        Result(0 if r.diverged else None, valid=[r.valid[0] if math.isfinite(r.valid[0]) else worst, r.valid[-1]],
               test=r.test if tested else None)
        for r in kept.runs
    ]  # fmt: skip
    return sample(runs, kept.search)


def _easy(methods: dict[str, list[Run]]) -> float:
    """The easier target of a comparison: the median that the best setting of the baseline reaches in 60 % of its run,
    or ends with where that is higher."""
    usual = [who for known in BASELINES for who in methods if _ours(who) == known]
    runs = methods[(usual or sorted(methods))[0]]
    best = min(runs, key=lambda r: r.final).setting
    there = [r for r in runs if r.setting == best and not r.diverged]
    if not there:
        return -math.inf
    return max(median(r.valid[round(EASY * (len(r.valid) - 1))] for r in there), median(r.final for r in there))


def _times(run: Run, unit: str) -> tuple[float, ...]:
    return run.seconds if unit == "seconds" else run.step


def _ours(name: str) -> str:
    """The baseline is what is called so, else a method of that name."""
    return BASELINES[0] if plain(name) == "baseline" else plain(name)


def _by(runs: Sequence[Run], key: Callable[[Run], str]) -> dict[str, list[Run]]:
    """Runs that have the same, in the order of their seeds, so that methods with the same seeds are paired."""
    found: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda r: (key(r), r.seed)):
        found.setdefault(key(run), []).append(run)
    return found
