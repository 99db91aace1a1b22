"""What a comparison found: all that the terminal, the report and the export show, made of the records alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from .inside import Inside
from .search import Entry
from .spaces import CONTAINS
from .statistics import LEVEL, Difference, holm, letters, paired
from .stopwatch import StepTime
from .study import SELECTION, Study, Tier, Tried
from .tasks import Data, Task
from .trial import Result, Trial

BASELINES = ("adamw", "nadam", "nag", "momentum")  # AlgoPerf's, of which the best sets the target
EASY = 0.6  # of the budget: what the baseline has reached by then is the easier target


@dataclass(frozen=True)
class Method:
    """One optimizer in the comparison."""

    entry: Entry
    space: dict[str, tuple[float, float]]
    tried: tuple[Tried, ...]  # in the order of the search
    hyper: dict[str, float]  # of the best, as the space calls it
    tuned: tuple[Result, ...]  # the best point with new seeds, in the same order for every method
    defaults: tuple[Result, ...]
    runner_up: tuple[Result, ...]
    edges: dict[str, str]  # where the best value lies at the edge of the space, and at which end
    group: str  # methods that share a letter cannot be told apart; empty where a seed diverged
    time: StepTime
    widened: int = 0  # times that its space was
    inside: Inside | None = None  # what a monitor saw in one run of the best point

    @property
    def name(self) -> str:
        """What it is called."""
        return self.entry.label

    @property
    def losses(self) -> list[float]:
        """At the end of each tuned run, on the data that the verdict is about; infinite where it diverged."""
        return [score(r) for r in self.tuned]

    @property
    def loss(self) -> float:
        """Their mean."""
        return fmean(self.losses)

    @property
    def diverged(self) -> int:
        """How many of the tuned runs did."""
        return sum(math.isinf(x) for x in self.losses)

    @property
    def metrics(self) -> list[float]:
        """Of each tuned run that did not diverge, on the same data."""
        return [r.metric[-1] if r.test_metric is None else r.test_metric for r in self.tuned if r.diverged_at is None]


def score(result: Result) -> float:
    """The loss that the verdict is about: of the test part, of the validation part where there is no other."""
    return result.final if result.test is None or math.isinf(result.final) else result.test


@dataclass(frozen=True)
class Facts:
    """How a comparison was made."""

    task: Task
    command: str
    epochs: int
    steps: int
    tier: Tier
    preset: str | None
    carry_over: bool
    schedule: str
    data: Data
    computed: str = "on cpu in float32"

    @property
    def selection_seeds(self) -> tuple[int, ...]:
        """With which points are chosen."""
        return () if self.preset else tuple(SELECTION + i for i in range(self.tier.studies))

    @property
    def seeds(self) -> tuple[int, ...]:
        """With which the chosen ones are run."""
        return tuple(range(self.tier.seeds))


@dataclass(frozen=True)
class Outcome:
    """A finished comparison."""

    methods: tuple[Method, ...]  # best first
    target: float | None  # validation loss that the best baseline ends with
    easy_target: float | None
    baseline: str  # which that is
    facts: Facts
    sweep: tuple["Outcome", ...] = ()  # the same at other batch sizes, smallest first, to this one's easier target

    def steps_to_easy_target(self) -> dict[str, float]:
        """Of each method by its name; infinite for a miss."""
        target = math.inf if self.easy_target is None else self.easy_target
        return {m.name: steps_to(m.tuned, target) for m in self.methods}

    @property
    def seeds(self) -> int:
        """Of the tuned runs."""
        return len(self.methods[0].tuned)

    def behind(self, method: Method) -> Difference | None:
        """How far a method lies behind the best; None for the best itself, and where a run diverged."""
        best = self.methods[0]
        if method is best or method.diverged or best.diverged:
            return None
        return paired(best.losses, method.losses)

    @property
    def level(self) -> list[Method]:
        """Those that cannot be told from the best."""
        first, *others = self.methods
        return [m for m in others if set(m.group) & set(first.group)]

    def excluded(self) -> list[tuple[Method, Method]]:
        """Methods that lost, by more than noise, to one that they contain: their search was too small."""
        by = {m.entry.ours: m for m in self.methods if not (m.diverged or m.entry.hyper)}  # settings change the space
        pairs = [(by[m], by[c]) for m in by for c in CONTAINS.get(m, ()) if c in by]
        lost = [(m, c, paired(c.losses, m.losses)) for m, c in pairs if m.loss > c.loss]
        corrected = holm([difference.p for *_, difference in lost])
        return [(m, c) for (m, c, _), p in zip(lost, corrected, strict=True) if p < LEVEL]


def outcome(
    studies: Sequence[Study], known: Mapping[Trial, Result], times: Sequence[StepTime],
    looks: Sequence[Inside | None], facts: Facts, target: float | None = None,
) -> Outcome:  # fmt: skip
    """The methods in the order of their test loss. `target` replaces the baseline's."""
    found = [replace(_method(study, known, time), inside=inside)
             for study, time, inside in zip(studies, times, looks, strict=True)]  # fmt: skip
    found.sort(key=lambda m: m.loss)
    whole = [m for m in found if not m.diverged]
    groups = dict(zip((m.name for m in whole), letters([m.losses for m in whole]), strict=True)) if whole else {}
    methods = tuple(replace(m, group=groups.get(m.name, "")) for m in found)
    baseline = next((m for m in methods if m.entry.ours in BASELINES and not m.diverged), methods[0])
    easy = None
    if target is None and not baseline.diverged:
        target = median(r.valid[-1] for r in baseline.tuned)
        easy = median(r.valid[round(EASY * (len(r.valid) - 1))] for r in baseline.tuned)
    return Outcome(methods, target, easy, baseline.name, facts)


def _method(study: Study, known: Mapping[Trial, Result], time: StepTime) -> Method:
    def results(trials: Sequence[Trial]) -> tuple[Result, ...]:
        return tuple(known[t] for t in trials)

    if study.fixed:
        return Method(study.entry, {}, (), dict(study.entry.hyper), results(study.wanted(known)), (), (), {}, "", time)
    rounds = study.rounds(known)
    last = rounds[-1]
    best = last.ranked(known)[0]
    confirm = study.wanted(known)[sum(len(r.trials) for r in rounds) + len(study.reference) :]
    seeds = study.tier.seeds
    return Method(
        study.entry, last.space, tuple(last.tried(known)), dict(best.at), results(confirm[:seeds]),
        results(study.reference), results(confirm[seeds:]), last.edges(known), "", time, len(rounds) - 1,
    )  # fmt: skip


def steps_to(results: Sequence[Result], target: float) -> float:
    """The first step from which the mean over the seeds stays at or below the target; infinite where there is none, or
    a seed diverged."""
    if any(r.diverged_at is not None for r in results):
        return math.inf
    return _since(results[0].step, [fmean(x) for x in zip(*(r.valid for r in results), strict=True)], target)


def steps_of_each(results: Sequence[Result], target: float) -> list[float]:
    """The same for each seed alone."""
    return [_since(r.step, r.valid, target) for r in results]


def _since(steps: Sequence[int], losses: Sequence[float], target: float) -> float:
    found = math.inf
    for step, loss in zip(steps, losses, strict=True):
        found = math.inf if not loss <= target else min(found, step)
    return found
