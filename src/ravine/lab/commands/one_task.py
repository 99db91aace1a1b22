"""A comparison on one task, straight down: studies, sweep, time per step, what was found."""

import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from .. import report
from ..errors import LabError
from ..protocol import curriculum, curvature, routing, search, sparse, stopwatch
from ..protocol import devices as where
from ..protocol.decode import Garbled, decoded
from ..protocol.found import About, Facts, Found, Made, Plan, chosen
from ..protocol.given_spaces import spaced
from ..protocol.inside import Inside, look
from ..protocol.outcome import Outcome, outcome
from ..protocol.plan import planned, set_down
from ..protocol.quantity import Quantity, Seen
from ..protocol.records import Known, Records
from ..protocol.settings import Settings, examples
from ..protocol.stopwatch import StepTime
from ..protocol.study import Study
from ..protocol.trial import Trial
from ..protocol.trials import carried_over, maker
from ..report.export import ready
from ..sweep.live import Live
from ..sweep.sweep import TrialFailed, sweep
from ..tasks import Data, Task
from ..threads import one_thread
from ..trackers import Trackers
from .board import Board

T = TypeVar("T")


def on(name: str, task: Task, folder: Path, settings: Settings, command: str, live: Board | None = None) -> Outcome:
    """Runs what is not in the folder's records yet, and returns what all of it says."""
    curriculum.check(settings.curriculum, task)
    entries = _entries(settings, task)
    metric = task.metric_name if task.metric else None
    usual = {entry.name: entry.defaults for entry in entries}
    if settings.export:
        ready(settings.export)
    with (
        Records(folder) as records,
        closing(Trackers(settings.track, folder, task.name, metric, usual)) as trackers,
    ):
        asked = asdict(replace(settings, tasks=(name,), png=None, pdf=None, export=None, track=()))
        records.remember("comparison", {"command": command, "in": Path.cwd(), "settings": asked})
        records.forget("found")  # until it is found again
        data = task.load()
        for batch in (settings.batch, *settings.batch_sweep):
            _batch(batch, task, data, "--batch" if batch == settings.batch else "--batch-sweep")
        task.rehearse(data)  # what is wrong with the task is said before what is wrong with an optimizer
        routing.check(entries, task, settings.precision)
        sparse.check(entries, task, data)
        curvature.check(entries, task, data, settings.precision, settings.compile)

        quantity = Quantity.of(settings.by, task)
        here = OneTask(name, task, data, entries, settings, quantity, records, trackers, live)
        main_size = here.sized(settings.batch)
        target = None if settings.target is None else quantity.at(settings.target)
        plan = None if target is None else _planned(main_size, target, asked)

        for trial, result in records:
            trackers.add(trial, result)
        main = _found(main_size, command, target, plan)
        if settings.batch_sweep:
            aim = outcome(main, records.results()).aim
            main = _at_all_sizes(
                main, [_found(here.sized(batch), command, aim, plan) for batch in settings.batch_sweep]
            )
        records.remember("found", asdict(main))
        return outcome(main, records.results())


def _entries(settings: Settings, task: Task) -> list[search.Entry]:
    if settings.preset == "classic":
        return search.classic(settings.optimizers)
    if settings.preset == "self-tuning":
        return search.self_tuning(settings.optimizers)
    entries = search.entries(settings.optimizers or task.optimizers or search.DEFAULT)
    return spaced(entries, settings.space, task.spaces, task.name)


@dataclass(frozen=True)
class OneTask:
    """What is compared at one batch size, and where its results go."""

    name: str  # of the task, as it was typed
    task: Task
    data: Data
    entries: list[search.Entry]
    settings: Settings
    quantity: Quantity
    records: Records
    trackers: Trackers
    live: Board | None

    def sized(self, batch: str | None) -> "OneTask":
        """The same at this batch size."""
        return replace(self, task=replace(self.task, batch=_batch(batch, self.task, self.data)))

    @property
    def epochs(self) -> int:
        """Of each trial."""
        return self.settings.epochs or math.ceil(self.settings.work.share * self.task.epochs)

    @property
    def steps(self) -> int:
        """Of each trial."""
        return self.epochs * -(-self.data.rows // self.task.batch)

    def studies(self) -> list[Study]:
        """What is run of each method."""
        asked = self.settings
        common = {"task": self.name, "epochs": self.epochs, "batch": self.task.batch, "schedule": asked.schedule,
                  "curriculum": asked.curriculum, "device": where.kind(asked.devices), "precision": asked.precision,
                  "compiled": asked.compile, "evaluations": asked.evaluations}  # fmt: skip
        does = self.task.rehearse(self.data)
        makes = [maker(entry, does, common, asked.give_up) for entry in self.entries]
        if asked.carry_over:
            makes = carried_over(self.entries, makes)
        return [Study(entry, asked.work, make, asked.extend, asked.preset is not None, asked.search_seed)
                for entry, make in zip(self.entries, makes, strict=True)]  # fmt: skip


def _found(here: OneTask, command: str, target: float | None, plan: Plan | None) -> Found:
    """Runs all studies, and measures what is measured of their best."""
    settings, task, data = here.settings, here.task, here.data
    about = About.of(task, data)
    studies = here.studies()
    known, failed = _run(here, studies)
    seen = Seen(known, here.quantity)
    studies = [study for study in studies if study.entry.name not in failed]
    missing = [f"{e.label} has no row: {failed[e.name]}" for e in here.entries if e.name in failed]
    best = [(study.chosen(seen)[1][0], study.entry) for study in studies]
    times = _times(best, task, data, missing)
    looks = [_tried(lambda t=t, e=e: _look(here, t, e.cls), f"{e.label}: what happens inside", missing)
             for t, e in best]  # fmt: skip
    facts = Facts(
        about, command, here.epochs, here.steps, settings.work, settings.preset, settings.carry_over,
        str(settings.schedule), settings.search_seed, settings.computed, here.quantity, Made.here(), plan,
        settings.give_up,
    )  # fmt: skip
    methods = [chosen(study, seen, time, inside) for study, time, inside in zip(studies, times, looks, strict=True)]
    return Found(facts, tuple(methods), target, tuple(missing))


WHATEVER = ("data", "out", "workers", "engine", "png", "pdf", "export", "track")  # settings that decide no result


def _planned(here: OneTask, target: float, asked: Mapping[str, Any]) -> Plan | None:
    """The test of steps to this target, set down before any run."""
    settings = here.settings
    if len(here.entries) < 2 or settings.carry_over:
        return None
    decides = {name: x for name, x in asked.items() if name not in WHATEVER}
    fixed = settings.preset is not None
    made = planned(target, here.entries, here.steps, settings.work, fixed, decides, here.quantity.name)
    return set_down(made, here.records)


def _at_all_sizes(main: Found, others: Sequence[Found]) -> Found:
    """The comparison with those at other batch sizes, of the methods that have a row in each."""
    labels = [{m.card.label for m in one.methods} for one in (main, *others)]
    everywhere = set.intersection(*labels)
    if not everywhere:
        raise TrialFailed("no optimizer could be trained at all batch sizes")
    said = tuple(f"{label} has no row: it fails at another batch size" for label in sorted(labels[0] - everywhere))

    def cut(one: Found) -> Found:
        return replace(one, methods=tuple(m for m in one.methods if m.card.label in everywhere))

    return replace(cut(main), sweep=tuple(map(cut, others)), missing=(*main.missing, *said))


def _times(best: list[tuple[Trial, search.Entry]], task: Task, data: Data, missing: list[str]) -> list[StepTime]:
    """The time per step of each method; not a number where that fails."""
    nothing = StepTime(math.nan, math.nan)
    found = _tried(lambda: stopwatch.measure([(t, e.cls) for t, e in best], task, data), "The time per step", missing)
    out: list[StepTime] = []
    for time, (_, entry) in zip(found or [nothing] * len(best), best, strict=True):
        if isinstance(time, Exception):
            missing.append(_unmeasured(f"{entry.label}: the time per step", time))
        out.append(nothing if isinstance(time, Exception) else time)
    return out


def _tried(measure: Callable[[], T], what: str, missing: list[str]) -> T | None:
    """What is measured after all training; where that fails the report goes without, and says so."""
    try:
        return measure()
    except Exception as error:
        if os.environ.get("RAVINE_DEBUG"):
            raise
        missing.append(_unmeasured(what, error))
        return None


def _unmeasured(what: str, error: Exception) -> str:
    return f"{what} could not be measured: {type(error).__name__}: {' '.join(str(error).split())}"


def _look(here: OneTask, trial: Trial, cls: type) -> Inside | None:
    """What a monitor sees inside this trial; looked at once, and not where it diverged."""
    if here.records[trial].diverged_at is not None or trial.device != "cpu":
        return None
    with suppress(Garbled):
        kept = decoded(Inside, here.records.recalled(f"inside {trial.key}"))
        kept.sound()
        return kept
    with one_thread():
        made = look(trial, here.task, here.data, cls)
    here.records.remember(f"inside {trial.key}", asdict(made))
    return made


def _batch(asked: str | None, task: Task, data: Data, option: str = "--batch") -> int:
    """Examples a step: the task's own, those asked for, or all."""
    if asked is None:
        task.fits(data)
        return task.batch
    batch = data.rows if asked == "full" else examples(asked)
    if batch > data.rows:
        raise LabError(f"{option} {asked}: task '{task.name}' has {data.rows} examples to train on")
    return batch


def _run(here: OneTask, studies: Sequence[Study]) -> tuple[Known, dict[str, str]]:
    """Trains all that the studies want and the records lack. Each result may make a study want more. An optimizer that
    fails in a trial has no more of them: its name, and why. What failed is not recorded, and tried again next time."""
    settings, records = here.settings, here.records
    known, failed = Known(records), dict[str, str]()
    seen = Seen(known, here.quantity)
    queue: deque[tuple[Trial, ...]] = deque()
    queued: set[Trial] = set()

    def ask() -> None:
        wanted = [study.wanted(seen) for study in studies if study.entry.name not in failed]
        jobs = list(zip(*wanted, strict=True)) if settings.carry_over else [(t,) for w in wanted for t in w]
        for job in jobs:
            if not queued.issuperset(job) and any(trial not in known for trial in job):
                queued.update(job)
                queue.append(job)

    ask()
    each = settings.work.seeds if settings.preset else settings.work.trials
    done = {t: seen[t] for study in studies for t in study.wanted(seen) if t in known}
    notes = records.notes({*done, *queued})
    by = here.quantity.name
    with Live([s.entry for s in studies], each, here.steps, done, notes, by) as live:
        if here.live:
            labels = {s.entry.name: s.entry.label for s in studies}
            here.live.show(lambda: len(live.done),
                           lambda: report.so_far(here.name, labels, dict(live.done), live.total, by))  # fmt: skip
        for kind, trial, value in sweep(
            queue, here.name, settings.data, here.data, settings.devices, records, settings.engine
        ):
            if kind == "result":
                known.add(trial, value)
                here.trackers.add(trial, value)
                ask()
                value = seen[trial]
            elif kind == "failed":
                if settings.carry_over or trial.optimizer not in failed:
                    live.show(kind, trial, value)
                failed.setdefault(trial.optimizer, f"{value}, at {_setting(trial)}")
                if settings.carry_over or len(failed) == len(studies):
                    raise TrialFailed("\n".join(f"{name}: {why}" for name, why in failed.items()))
                for job in [job for job in queue if job[0].optimizer in failed]:
                    queue.remove(job)
                continue
            live.show(kind, trial, value)
    records.mend(t for study in studies for t in study.wanted(seen) if t in known)
    return known, failed


def _setting(trial: Trial) -> str:
    return f"{', '.join(f'{name} {x}' for name, x in trial.hyper)} with seed {trial.seed}"
