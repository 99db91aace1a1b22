"""`ravine tune`: good hyperparameters of one optimizer for a task, searched by Optuna and then tried with new seeds."""

import argparse
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import ravine
from ravine.cli.answer import Parser, Whole, checked
from ravine.schedules.written import written

from ..errors import LabError, extra
from ..protocol import curvature, routing, sparse
from ..protocol.devices import check, devices, kind
from ..protocol.given_spaces import spaced
from ..protocol.recipe import made_of
from ..protocol.records import Known, Records
from ..protocol.search import Entry, entries
from ..protocol.spaces import REST, Space, for_matrices
from ..protocol.study import SELECTION, Hyper, Make
from ..protocol.trial import Result, Trial
from ..protocol.trials import maker
from ..sweep.live import Live
from ..sweep.sweep import TrialFailed, sweep
from ..tasks import Task, load_task
from . import answer, given, of_optimizer, of_space, of_task

ROUND = 4  # points that are asked for at once, however many workers there are: so that these change nothing


RANGES = {
    "trials": Whole(1, 100_000), "seeds": Whole(1, 1000), "confirm": Whole(1, 1000), "epochs": Whole(1, 10**6),
    "batch": Whole(),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    task: str = "digits"
    data: Path | None = None
    optimizer: str = "adam"
    space: tuple[str, ...] = ()
    trials: int = 50
    seeds: int = 1
    confirm: int = 5
    epochs: int | None = None
    batch: int | None = None
    schedule: str = "cosine"
    out: Path | None = None
    workers: str | None = None

    def __post_init__(self):
        checked(self, RANGES)
        try:
            object.__setattr__(self, "schedule", written(self.schedule))
        except (ValueError, TypeError) as error:
            raise LabError(f"--schedule: {error}") from error


@dataclass(frozen=True)
class Point:
    """A setting, as the space names it and as the constructor takes it, and its trials."""

    at: dict[str, float]
    hyper: Hyper
    trials: tuple[Trial, ...]

    def score(self, known: Mapping[Trial, Result]) -> float:
        """Mean validation loss at the end; infinite if a seed diverged."""
        return fmean(known[t].final for t in self.trials)


class Tuning:
    """The search: asked for trials again after each result, it goes on; after a stop, where it was.

    Points come from Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter
    optimization") in rounds of four. A round is a function of the results before it and of its number, so the records
    of trials are all that is kept: a search that was stopped asks for the same points again and finds their results.
    """

    def __init__(self, entry: Entry, space: Space, make: Make, asked: Settings):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.entry, self.space, self.make, self.asked = entry, space, make, asked
        self.study = optuna.create_study()
        self.points: list[Point] = []
        self.open: list[tuple[Any, Point]] = []  # Optuna's trial, ours

    def wanted(self, known: Mapping[Trial, Result]) -> list[Trial]:
        """All trials that can be named by now, known ones too."""
        while all(t in known for _, point in self.open for t in point.trials):
            for trial, point in self.open:
                self.study.tell(trial, point.score(known))
            self.open = []
            left = self.asked.trials - len(self.points)
            if not left:
                break
            self._ask(min(ROUND, left))
        out = [t for point in self.points for t in point.trials]
        return out + (self.confirming(self.best(known).hyper) + self.reference if not self.open else [])

    def _ask(self, n: int) -> None:
        import optuna

        self.study.sampler = optuna.samplers.TPESampler(seed=len(self.points))
        scale: Any = {
            name: optuna.distributions.FloatDistribution(*ends, log=True) for name, ends in self.space.items()
        }
        for _ in range(n):
            trial = self.study.ask(scale)
            at = {name: float(f"{x:.3g}") for name, x in trial.params.items()}
            hyper = self.entry.built(at)
            seeds = range(SELECTION, SELECTION + self.asked.seeds)
            point = Point(at, hyper, tuple(self.make(hyper, seed) for seed in seeds))
            self.open.append((trial, point))
            self.points.append(point)

    def best(self, known: Mapping[Trial, Result]) -> Point:
        """Of all that were tried."""
        return min(self.points, key=lambda point: point.score(known))

    def confirming(self, hyper: Hyper) -> list[Trial]:
        """A setting with seeds that nothing was chosen with."""
        return [self.make(hyper, seed) for seed in range(self.asked.confirm)]

    @property
    def reference(self) -> list[Trial]:
        """The defaults, for comparison; none where lr has none."""
        return [] if self.entry.defaults is None else self.confirming(self.entry.defaults)


def tune(asked: Settings) -> str:
    """Runs what is not in the records yet, and says what was found."""
    task = load_task(asked.task, asked.data)
    (entry,) = spaced(entries([asked.optimizer]), asked.space, task.spaces, task.name)
    if not entry.space:
        raise LabError(f"--optimizer {asked.optimizer}: its settings leave nothing to search; leave one out")
    crew = devices(asked.workers)
    check(crew)
    with Records(asked.out or Path("runs") / f"tune-{task.folder}") as records:
        data = task.load()
        task = replace(task, batch=asked.batch or task.batch)
        if asked.batch and asked.batch > data.rows:
            raise LabError(f"--batch {asked.batch}: task '{task.name}' has {data.rows} examples to train on")
        task.fits(data)
        does = task.rehearse(data)
        routing.check([entry], task)
        sparse.check([entry], task, data)
        curvature.check([entry], task, data)
        epochs = asked.epochs or task.epochs
        common = {"task": asked.task, "epochs": epochs, "batch": task.batch, "schedule": asked.schedule,
                  "device": kind(crew)}  # fmt: skip
        with extra("tune", "ravine tune"):
            search = Tuning(entry, entry.space, maker(entry, does, common), asked)
        known, queue, queued = Known(records), deque[tuple[Trial, ...]](), set[Trial]()

        def ask() -> None:
            new = [t for t in search.wanted(known) if t not in known and t not in queued]
            queued.update(new)
            queue.extend((t,) for t in new)

        ask()
        done = {t: known[t] for t in search.wanted(known) if t in known}
        each = asked.trials * asked.seeds + asked.confirm + len(search.reference)
        with Live([entry], each, epochs * -(-data.rows // task.batch), done) as live:
            for what, trial, value in sweep(queue, asked.task, asked.data, data, crew, records):
                if what == "failed":
                    raise TrialFailed(f"{trial.optimizer} at {dict(trial.hyper)} with seed {trial.seed}: {value}")
                if what == "result":
                    known.add(trial, value)
                    ask()
                live.show(what, trial, value)
    return told(search, known, task, asked)


def told(search: Tuning, known: Mapping[Trial, Result], task: Task, asked: Settings) -> str:
    """The result in words, with the line of Python that uses it."""
    best = search.best(known)
    score = best.score(known)
    if math.isinf(score):
        return f"All {asked.trials} settings of {search.entry.label} diverged on {task.name}."
    compared = {"the best": search.confirming(best.hyper), "the defaults": search.reference}
    rows = [[name, *means([known[t] for t in trials])] for name, trials in compared.items() if trials]
    head = ["", "validation loss", "test loss", f"test {task.metric_name}"]
    shown = [i for i in range(4) if any(row[i] for row in rows)]
    width = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]
    return "\n".join(
        [
            f"{search.entry.label} on {task.name}: the best of {asked.trials} settings, {counted(asked.seeds)} each",
            "  " + ", ".join(f"{name} {x:g}" for name, x in best.at.items()),
            *(
                f"  {name} is {end} of the space: a better one may lie beyond"
                for name, end in ends(best.at, search.space)
            ),
            "",
            f"While it was chosen its validation loss was {score:.4f}. That is optimistic, being the lowest of many; "
            f"with {counted(asked.confirm, 'new ')}:",
            "",
            *("  ".join(row[i].ljust(width[i]) for i in shown).rstrip() for row in (head, *rows)),
            "",
            *(["The task has no test part: settings were chosen on the same validation data."] * (2 not in shown)),
            f"For {best.trials[0].epochs} epochs at batch {task.batch}, schedule {best.trials[0].schedule}:",
            "",
            f"    {python(search.entry.cls, best.hyper)}",
        ]
    )


def counted(seeds: int, new: str = "") -> str:
    """In words."""
    return f"{seeds} {new}seed{'s' * (seeds > 1)}"


def ends(at: Mapping[str, float], space: Space) -> list[tuple[str, str]]:
    """What lies in the first or last twentieth of its range."""
    place = {name: math.log(x / space[name][0]) / math.log(space[name][1] / space[name][0]) for name, x in at.items()}
    return [
        (name, "at the low end" if u < 0.5 else "at the high end") for name, u in place.items() if abs(u - 0.5) > 0.45
    ]


def means(results: Sequence[Result]) -> tuple[str, str, str]:
    """Validation loss, test loss and test metric over seeds, empty where there is none."""
    lost = sum(math.isinf(r.final) for r in results)
    if lost:
        return f"{lost} of {len(results)} diverged", "", ""
    return (
        spread([r.final for r in results]),
        spread([r.test for r in results]),
        spread([r.test_metric for r in results]),
    )


def spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation; what is no number is counted apart."""
    known = [x for x in values if x is not None]
    finite = [x for x in known if math.isfinite(x)]
    if not finite:
        return "not a number" if known else ""
    lost = len(known) - len(finite)
    return (
        f"{fmean(finite):.4f}"
        + (f" ± {stdev(finite):.4f}" if len(finite) > 1 else "")
        + (f" ({lost} of {len(known)} not a number)" if lost else "")
    )


def python(cls: type, hyper: Hyper) -> str:
    """What to write to use it."""
    rule, said = made_of(cls), dict(getattr(cls, "given", {})) | dict(hyper)
    rest = {"lr": said.pop(REST)} if REST in said else {}
    given = ", ".join(f"{field}={x!r}" for field, x in said.items())
    if getattr(ravine, rule.__name__, None) is rule:
        if for_matrices(rule):
            given += f", rest={rest!r}" if rest else ""
            return f'opt = ravine.create("{rule.__name__.lower()}", model, {given})'
        return f"opt = ravine.{rule.__name__}(model.parameters(), {given})"
    name = f"{cls.__module__}.{cls.__name__}"
    if for_matrices(rule):
        split = "matrices, others = ravine.groups.split(model)"
        return f"{split}; opts = {name}(matrices, {given}), ravine.AdamW(others, **{rest!r})"
    first = next(iter(signature(cls).parameters), "")
    taken = {"model": "model", "named_parameters": "model.named_parameters()"}.get(first, "model.parameters()")
    return f"opt = {name}({taken}, {given})"


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: print(tune(Settings(**given(_parser(), argv)))))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine tune",
        description="Searches good hyperparameters of one optimizer for a task with Optuna, and tries the best of them "
        "with new seeds beside the defaults. Stopped at any moment, the same command goes on where it was.",
    )
    add, usual = parser.add_argument, Settings
    of_task(parser, usual.task)
    of_optimizer(parser, usual.optimizer)
    of_space(parser)
    add("--trials", metavar="N", type=RANGES["trials"], help=f"settings that are tried (default {usual.trials})")
    add("--seeds", metavar="N", type=RANGES["seeds"], help=f"runs of each, whose mean counts (default {usual.seeds})")
    add(
        "--confirm",
        metavar="N",
        type=RANGES["confirm"],
        help=f"new seeds for the best and the defaults (default {usual.confirm})",
    )
    add("--epochs", metavar="N", type=RANGES["epochs"], help="how long each trial is (default: the task's)")
    add("--batch", metavar="N", type=RANGES["batch"], help="examples a step (default: the task's)")
    add("--schedule", metavar="NAME", help=f"what lr is multiplied by over the run (default {usual.schedule})")
    add("--out", metavar="DIR", type=Path, help="where the records go (default runs/tune-TASK)")
    add("--workers", metavar="N", help="processes, one thread each, or devices as cuda:0,cuda:1 (default: one a core)")
    return parser
