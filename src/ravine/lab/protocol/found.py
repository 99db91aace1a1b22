"""What a comparison keeps beside its trials, so that a report is made of the records alone: nothing is imported, run or
measured again."""

import inspect
import math
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ravine.optimizer import Optimizer
from ravine.schedules import Warmup
from ravine.schedules.written import read

from ..tasks import Data, Task, count
from .decode import must
from .devices import cores
from .evidence import Traits, traits
from .inside import Inside
from .quantity import LOSS, Quantity
from .recipe import made_of
from .search import Entry
from .spaces import REST, ours
from .stopwatch import StepTime
from .study import Study, Tier, selection_seeds
from .trial import Result, Trial


@dataclass(frozen=True)
class About:
    """A task and its data."""

    name: str
    text: str
    metric: str | None  # what it is called
    batch: int
    train: int  # examples
    valid: int
    test: int | None
    traits: Traits | None = None
    spaces: tuple[str, ...] = ()  # its own, in the place of the published ones

    @classmethod
    def of(cls, task: Task, data: Data) -> "About":
        """Looks at them."""
        metric, test = task.metric_name if task.metric else None, data.x_test
        return cls(
            task.name, task.about, metric, task.batch, data.rows, count(data.x_valid),
            None if test is None else count(test), traits(task, data), task.spaces,
        )  # fmt: skip


@dataclass(frozen=True)
class Made:
    """Where and when something was measured."""

    machine: str
    versions: dict[str, str]
    date: str

    @classmethod
    def here(cls) -> "Made":
        """On this machine, now."""
        versions = {name: version(name) for name in ("ravine", "torch", "numpy", "scipy")}
        return cls(
            f"{_processor()}, {platform.system()}", versions | {"Python": platform.python_version()},
            datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A test of steps to a target, with what the comparison was asked for."""

    text: str
    target: float
    baseline: str  # its label
    asked: str  # all settings that decide results, as JSON
    known: int = 0  # trials that were in the records when it was set down: none, if it was before any run
    date: str = ""
    tests: int = 1  # that the level is shared by, whether or not each can be made


@dataclass(frozen=True)
class Facts:
    """How a comparison was made."""

    task: About
    command: str
    epochs: int
    steps: int
    tier: Tier
    preset: str | None
    carry_over: bool
    schedule: str
    search_seed: int = 0
    computed: str = "on cpu in float32"
    quantity: Quantity = LOSS
    made: Made | None = None
    plan: Plan | None = None
    give_up: float | None = None  # of the steps of a trial of the search, after which a hopeless one ends

    @property
    def selection_seeds(self) -> tuple[int, ...]:
        """With which points are chosen."""
        return () if self.preset else tuple(selection_seeds(self.tier.points, self.search_seed))

    @property
    def seeds(self) -> tuple[int, ...]:
        """With which the chosen ones are run."""
        return tuple(range(self.tier.seeds))


@dataclass(frozen=True)
class Card:
    """An optimizer, without its class."""

    name: str  # as it was typed
    label: str
    ours: str
    defaults: tuple[tuple[str, Any], ...] | None = None  # what it is built with when nothing is tuned
    meaning: str = ""
    equations: str = ""  # LaTeX, traced at the best setting
    settings: bool = False  # what was typed sets hyperparameters: its space is another
    warmups: dict[str, int] = field(default_factory=dict[str, int])  # steps of those that the method has itself
    schedule: str | None = None  # where it is not that of the comparison
    line: str = ""  # of Python that makes it at its best setting, of ours

    @classmethod
    def of(cls, entry: Entry, hyper: Mapping[str, float]) -> "Card":
        """What an entry's class says of itself."""
        rule = made_of(entry.cls)
        known, latex = inspect.signature(rule).parameters, ""
        if issubclass(rule, Optimizer):
            with suppress(Exception):  # of a rule of somebody's own: the report goes without
                latex = rule.equations(**{name: x for name, x in hyper.items() if name in known})
        meaning = (inspect.getdoc(entry.cls) or "").split("\n", 1)[0]
        return cls(
            entry.name, entry.label, entry.ours, entry.defaults, meaning, latex, bool(entry.hyper or entry.given),
            _warmups(entry), entry.scheduled, _line(entry, hyper),
        )  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """One optimizer: what its study tried and chose, as keys of trials, and what was measured of it apart from them."""

    card: Card
    space: dict[str, tuple[float, float]]
    points: tuple[tuple[dict[str, float], str], ...]  # in the order of the search
    hyper: dict[str, float]  # of the setting to use, as the space calls it
    tuned: tuple[str, ...]
    defaults: tuple[str, ...]
    edges: dict[str, str]
    widened: int
    time: StepTime
    inside: Inside | None = None


@dataclass(frozen=True)
class Found:
    """A comparison at one batch size, and at others."""

    facts: Facts
    methods: tuple[Chosen, ...]
    target: float | None  # that was asked for, in place of a baseline's
    missing: tuple[str, ...] = ()  # what could not be measured, a sentence each
    sweep: tuple["Found", ...] = ()

    def keys(self) -> set[str]:
        """Of all trials that a report is made of."""
        own = {key for m in self.methods for key in (*(key for _, key in m.points), *m.tuned, *m.defaults)}
        return own.union(*(other.keys() for other in self.sweep))


def chosen(study: Study, known: Mapping[Trial, Result], time: StepTime, inside: Inside | None) -> Chosen:
    """What a finished study has to say."""

    def keys(trials: Sequence[Trial]) -> tuple[str, ...]:
        return tuple(t.key for t in trials)

    point, runs = study.chosen(known)
    hyper = dict(point.at)
    card = Card.of(study.entry, hyper)
    if study.fixed:
        return Chosen(card, {}, (), hyper, keys(runs), (), {}, 0, time, inside)
    rounds = study.rounds(known)
    last = rounds[-1]
    points = tuple((dict(p.at), t.key) for p, t in zip(last.points, last.trials, strict=True))
    return Chosen(
        card, last.space, points, hyper, keys(runs), keys(study.reference), last.edges(known), len(rounds) - 1, time,
        inside,
    )  # fmt: skip


def sound(found: Found, results: Mapping[str, Result]) -> None:
    """Raises Garbled where it cannot be what a comparison kept: for records that were not written here."""
    facts, methods = found.facts, found.methods
    keeps = partial(must, why="are not what a comparison keeps")
    keeps(min(facts.epochs, facts.steps, facts.task.batch, facts.tier.points, facts.tier.seeds) > 0, "its facts")
    keeps(max(facts.tier.points, facts.tier.seeds) <= 10_000, "its facts")
    keeps(len({m.card.label for m in methods}) == len(methods) > 0, "its methods")
    keeps(found.target is None or math.isfinite(found.target), "its target")
    keeps(facts.plan is None or min(facts.plan.known, facts.plan.tests - 1) >= 0, "its plan")
    for m in methods:
        keeps(len(m.tuned) == len(methods[0].tuned) > 0, "its seeds")
        keeps(len(m.points) == len(methods[0].points), "its points")
        keeps(all(set(m.space) <= set(at) == set(m.hyper) for at, _ in m.points), "its points")
        ends = [x for pair in m.space.values() for x in pair]
        values = [*m.hyper.values(), *(x for at, _ in m.points for x in at.values()), *ends]
        keeps("lr" in m.hyper and all(0 <= x < math.inf for x in values), "its settings")
        keeps(all(0 < low <= high for low, high in m.space.values()), "its spaces")
        keeps(all(at["lr"] > 0 for at, _ in m.points), "its points")
        keeps(set(m.edges) <= set(m.hyper), "its edges")
        for keys in (m.tuned, m.defaults):
            ended = [r for key in keys if (r := results[key]).diverged_at is None]
            keeps(all(r.step == ended[0].step for r in ended), "its steps")
        if m.inside is not None:
            m.inside.sound()
    for other in found.sweep:
        keeps({m.card.label for m in other.methods} == {m.card.label for m in methods}, "its batch sizes")
        sound(replace(other, sweep=()), results)


def _line(entry: Entry, hyper: Mapping[str, float]) -> str:
    if ours(entry.cls) is None or not issubclass(entry.cls, Optimizer):
        return ""
    built = dict(entry.built(hyper))
    if not all(isinstance(x, int | float | str | tuple) for x in built.values()):  # modifiers
        return ""
    rest = [f"rest={{'lr': {built.pop(REST)}}}"] if REST in built else []
    return f"ravine.create({', '.join([repr(entry.ours), 'model', *(f'{k}={x!r}' for k, x in built.items()), *rest])})"


def _warmups(entry: Entry) -> dict[str, int]:
    """Hyperparameters that are so many steps of a warm-up, as Adam2k's, and the warm-up of its own schedule."""
    usual = {name: x.default for name, x in inspect.signature(entry.cls).parameters.items()} | dict(entry.hyper)
    found = {name: x for name, x in usual.items() if "warmup" in name and type(x) is int and x > 0}
    with suppress(ValueError):  # of schedules that are for longer runs than one step
        parts = read(entry.schedule, 1).parts() if entry.schedule else ()  # a tenth of the run is a step here
        if (longest := max((part.steps for part in parts if isinstance(part, Warmup)), default=1)) > 1:
            found["schedule's warm-up"] = longest
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{name or platform.machine()}, {cores()} cores"
