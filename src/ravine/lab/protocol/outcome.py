"""What a comparison found: all that the terminal, the report and the export show, made of the records alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, median
from typing import Any

from .found import Card, Chosen, Facts, Found
from .inside import Inside
from .judged import metric, sample, score
from .spaces import CONTAINS
from .statistics import Difference, Sample, differences, letters
from .stopwatch import StepTime
from .study import Tried
from .trial import Result

BASELINES = ("adamw", "nadam", "nag", "momentum")  # AlgoPerf's, of which the best sets the target
EASY = 0.6  # of the budget: what the baseline has reached by then is the easier target,
MOST = 2 / 3  # unless so many of the methods reach only a higher one


@dataclass(frozen=True)
class Method:
    """One optimizer in the comparison."""

    card: Card
    space: dict[str, tuple[float, float]]
    tried: tuple[Tried, ...]  # in the order of the search
    hyper: dict[str, float]  # of the setting to use, as the space calls it
    tuned: tuple[Result, ...]  # this setting with new seeds, in the same order for every method
    defaults: tuple[Result, ...]
    edges: dict[str, str]  # where the best value lies at the edge of the space, and at which end
    time: StepTime
    search: int = 1  # points of a search that the verdict is about
    widened: int = 0  # times that its space was
    inside: Inside | None = None  # what a monitor saw in one run of the best point

    @property
    def name(self) -> str:
        """What it is called."""
        return self.card.label

    @property
    def losses(self) -> list[float]:
        """At the end of each tuned run, on the data that the verdict is about; infinite where it diverged."""
        return [score(r) for r in self.tuned]

    @cached_property
    def sample(self) -> Sample:
        """What the verdict is about: the loss to be expected of a search of so many points; of a method that is not
        searched that of a run."""
        runs = [p.result for p in self.tried]
        return sample(runs, self.search) if runs else sample(self.tuned, 1)

    @property
    def loss(self) -> float:
        """Its mean; infinite where the setting to use diverges with a new seed, and so do the next best."""
        return math.inf if self.diverged else fmean(self.sample.values)

    @property
    def confirmed(self) -> float:
        """The mean loss of the setting to use with new seeds; infinite where one diverged."""
        return fmean(self.losses)

    @property
    def validation(self) -> float:
        """Their mean on the validation data, by which a choice may be made; infinite where one diverged."""
        return fmean(r.final for r in self.tuned)

    @property
    def diverged(self) -> int:
        """How many of the tuned runs did."""
        return sum(math.isinf(x) for x in self.losses)

    @property
    def metrics(self) -> list[float]:
        """Of each tuned run, on the same data; what is no number is left out. None where a run diverged: those that
        survived it are not the method."""
        return [] if self.diverged else [x for r in self.tuned if math.isfinite(x := metric(r))]

    @property
    def usual(self) -> float | None:
        """Mean loss at the defaults, on the data that the verdict is about; None where they were not run."""
        return fmean(score(r) for r in self.defaults) if self.defaults else None

    @property
    def seconds(self) -> float:
        """Of training in a tuned run, the median over those that did not diverge; not a number where all did."""
        return median([r.seconds for r in self.tuned if r.diverged_at is None] or [math.nan])

    @property
    def moved(self) -> bool:
        """Whether any loss of a tuned run is another than before its first step."""
        return any(len(set(r.valid)) > 1 for r in self.tuned)


@dataclass(frozen=True)
class Outcome:
    """A finished comparison."""

    methods: tuple[Method, ...]  # best first
    target: float | None  # validation loss that the best baseline ends with
    easy_target: float | None
    baseline: str  # which that is
    facts: Facts
    sweep: tuple["Outcome", ...] = ()  # the same at other batch sizes, smallest first, to this one's easier target
    missing: tuple[str, ...] = ()  # what could not be measured, a sentence each
    untested: bool = False  # no run has a test loss, though the task has test data

    @property
    def judged(self) -> str:
        """The part of the data that the verdict is about."""
        return "validation" if self.untested or self.facts.task.test is None else "test"

    @property
    def measure(self) -> str:
        """What the verdict is about, in words."""
        return f"{self.judged} {self.quantity}"

    @property
    def quantity(self) -> str:
        """The loss, or what stands in its place."""
        return self.facts.quantity.name

    @property
    def aim(self) -> float | None:
        """Whose reaching is timed: the target that was asked for, else the easier one."""
        return self.target if self.easy_target is None else self.easy_target

    def steps_to_easy_target(self) -> dict[str, float]:
        """Of each method by its name; infinite for a miss."""
        target = math.inf if self.easy_target is None else self.easy_target
        return {m.name: stays_at(m.tuned, target) for m in self.methods}

    @property
    def usual(self) -> dict[str, Any]:
        """What each method is built with when nothing is tuned, by the name that was typed."""
        return {m.card.name: m.card.defaults for m in self.methods}

    @property
    def seeds(self) -> int:
        """Of the tuned runs."""
        return len(self.methods[0].tuned)

    @cached_property
    def differences(self) -> dict[tuple[str, str], Difference]:
        """Of all pairs of methods of which none diverged, in their order: one correction for all that is said."""
        whole = [m for m in self.methods if not m.diverged]
        found = differences([m.sample for m in whole]) if len({len(m.sample.values) for m in whole}) == 1 else {}
        return {(whole[i].name, whole[j].name): difference for (i, j), difference in found.items()}

    @cached_property
    def groups(self) -> dict[str, str]:
        """Of each method its letters: those that share one cannot be told apart; none where one diverged."""
        names = [m.name for m in self.methods if not m.diverged]
        apart = {(names.index(a), names.index(b)) for (a, b), d in self.differences.items() if d.distinct}
        return {m.name: "" for m in self.methods} | dict(zip(names, letters(len(names), apart), strict=True))

    def behind(self, method: Method) -> Difference | None:
        """How far a method lies behind the best; None for the best itself, and where a run diverged."""
        return self.differences.get((self.methods[0].name, method.name))

    @property
    def level(self) -> list[Method]:
        """Those that cannot be told from the best."""
        return [m for m in self.methods if (d := self.behind(m)) is not None and not d.distinct]

    @property
    def seen(self) -> float | None:
        """The difference from the best that such a comparison finds in half of the cases: the median over the others;
        None where there are none, or one run each."""
        found = [d.half for m in self.methods if (d := self.behind(m)) is not None and math.isfinite(d.half)]
        return median(found) if found else None

    def excluded(self) -> list[tuple[Method, Method]]:
        """Methods that lost, by more than noise, to one that they contain: their search was too small."""
        by = {m.card.ours: m for m in self.methods if not (m.diverged or m.card.settings)}  # those change the space
        pairs = [(by[m], by[c]) for m in by for c in CONTAINS.get(m, ()) if c in by]
        return [(m, c) for m, c in pairs if (d := self.differences.get((c.name, m.name))) is not None and d.distinct]


def outcome(found: Found, results: Mapping[str, Result]) -> Outcome:
    """The methods, best first, from the keys of their trials and the results of these."""
    results = {key: found.facts.quantity.seen(result) for key, result in results.items()}
    made = [_method(chosen, results, found.facts) for chosen in found.methods]
    made, missing, untested = _tested(made, found.facts.quantity.name)
    methods = tuple(sorted(made, key=lambda m: (m.loss, m.diverged)))
    baseline = next((m for m in methods if m.card.ours in BASELINES and not m.diverged), methods[0])
    target, easy = found.target, None
    if target is None and not baseline.diverged:
        target = median(r.valid[-1] for r in baseline.tuned)
        early = median(r.valid[round(EASY * (len(r.valid) - 1))] for r in baseline.tuned)
        ends = sorted(x[-1][1] for m in methods if (x := _mean(m.tuned)) and math.isfinite(x[-1][1]))
        if math.isfinite(target) and ends:
            likely = (
                early,
                target,
                ends[math.ceil(MOST * len(ends)) - 1],
            )  # the first is lower where it overfits since
            easy = max(x for x in likely if math.isfinite(x))
        else:  # of a metric that is no number
            target = None
    sweep = sorted((outcome(other, results) for other in found.sweep), key=lambda o: o.facts.task.batch)
    said = (*found.missing, *missing, *_unmeasured(methods, found.facts.task.metric))
    return Outcome(methods, target, easy, baseline.name, found.facts, tuple(sweep), said, untested)


def _method(chosen: Chosen, results: Mapping[str, Result], facts: Facts) -> Method:
    def of(keys: Sequence[str]) -> tuple[Result, ...]:
        return tuple(results[key] for key in keys)

    tried = tuple(Tried(at, results[key]) for at, key in chosen.points)
    search = facts.tier.search if chosen.space else 1
    return Method(
        chosen.card, chosen.space, tried, chosen.hyper, of(chosen.tuned), of(chosen.defaults), chosen.edges,
        chosen.time, search, chosen.widened, chosen.inside,
    )  # fmt: skip


def _tested(methods: Sequence[Method], quantity: str) -> tuple[list[Method], list[str], bool]:
    """The methods, what to say where test losses are not finite, and whether none is: then the verdict is about the
    validation data."""
    ended = [r for m in methods for r in (*m.tuned, *m.defaults) if r.diverged_at is None and r.test is not None]
    if ended and not any(math.isfinite(r.test or 0.0) for r in ended):
        part = [{"tried": tuple(replace(p, result=_untested(p.result)) for p in m.tried)} |
                {name: tuple(map(_untested, getattr(m, name))) for name in ("tuned", "defaults")}
                for m in methods]  # fmt: skip
        said = (f"The test {quantity} is not finite in any run, as where a row of the test data holds a NaN: the "
                "verdict is about the validation data.")  # fmt: skip
        return [replace(m, **runs) for m, runs in zip(methods, part, strict=True)], [said], True
    said = []
    for m in methods:
        if lost := sum(math.isinf(score(r)) and r.diverged_at is None for r in m.tuned):
            said.append(f"{m.name}: the test {quantity} is not finite in {lost} of {len(m.tuned)} runs, which count as "
                        "diverged.")  # fmt: skip
    return list(methods), said, False


def _untested(result: Result) -> Result:
    return replace(result, test=None, test_metric=None)


def _unmeasured(methods: Sequence[Method], name: str | None) -> list[str]:
    """Metrics that are no number."""
    said = []
    for m in methods if name else ():
        if not m.diverged and (lost := len(m.tuned) - len(m.metrics)):
            rest = "its mean is over the others" if m.metrics else "there is no mean"
            said.append(f"{m.name}: the {name} is not a number in {lost} of {len(m.tuned)} runs; {rest}.")
    return said


def reaches(results: Sequence[Result], target: float) -> float:
    """The first step at which the mean over the seeds is at or below the target, whatever comes after; infinite where
    there is none, or a seed diverged."""
    return next((step for step, loss in _mean(results) if loss <= target), math.inf)


def stays_at(results: Sequence[Result], target: float) -> float:
    """The first step from which on it is so to the end."""
    mean = _mean(results)
    return _since([step for step, _ in mean], [loss for _, loss in mean], target)


def _mean(results: Sequence[Result]) -> list[tuple[int, float]]:
    """The mean validation loss over the seeds at each step; none where a seed diverged."""
    if any(r.diverged_at is not None for r in results):
        return []
    return [(step, fmean(x)) for step, *x in zip(results[0].step, *(r.valid for r in results), strict=True)]


def steps_of_each(results: Sequence[Result], target: float) -> list[float]:
    """For each seed alone the first step from which on its loss stays at or below the target."""
    return [_since(r.step, r.valid, target) for r in results]


def _since(steps: Sequence[int], losses: Sequence[float], target: float) -> float:
    found = math.inf
    for step, loss in zip(steps, losses, strict=True):
        found = math.inf if not loss <= target else min(found, step)
    return found
