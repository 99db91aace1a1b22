"""The main job, straight down: tasks, studies, sweep, time per step, outcome, reports."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ravine.schedules import find

from . import curriculum, report, search, sparse, stopwatch, terminal
from .devices import cores
from .errors import LabError
from .export import export, ready
from .live import Live
from .outcome import Facts, Outcome, outcome
from .records import Records
from .study import TIERS, Study, Tier
from .sweep import sweep
from .tasks import Data, Task, load_task
from .trackers import Trackers
from .trial import Result, Trial
from .trials import carried_over, maker
from .verdict import speed, words

PRESETS = ("classic",)
CLASSIC = "fashion-mnist-classic"  # the task of that preset: 60,000 images to train on, validated on the test images


@dataclass(frozen=True)
class Settings:
    """What the person asked for; None is what the task, the tier and the machine make of it."""

    tasks: tuple[str, ...] = ()
    data: Path | None = None
    optimizers: tuple[str, ...] | None = None
    epochs: int | None = None
    seeds: int | None = None
    points: int | None = None
    extend: bool = False
    batch: str | None = None
    batch_sweep: tuple[str, ...] = ()
    tier: str = "standard"
    preset: str | None = None
    carry_over: bool = False
    schedule: str | None = None
    curriculum: str = "none"
    target: float | None = None
    out: Path | None = None
    workers: int | None = None
    track: tuple[str, ...] = ()
    export: str | None = None

    def __post_init__(self):
        for name in ("epochs", "seeds", "points", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LabError(f"--{name} {value}: must be 1 or more")
        if self.optimizers == ():
            raise LabError("--optimizers: name at least one")
        if self.preset == "classic" and self.tasks not in ((), ("fashion-mnist",), (CLASSIC,)):
            raise LabError(
                f"--preset classic is an experiment on fashion-mnist: leave out --task {','.join(self.tasks)}"
            )
        if self.preset == "classic" and (self.points is not None or self.extend):
            raise LabError("--preset classic searches nothing: leave out --points and --extend")
        if self.carry_over and self.preset != "classic":
            raise LabError("--carry-over goes with --preset classic")
        for batch in (*([self.batch] if self.batch else []), *self.batch_sweep):
            if batch != "full" and not (batch.isdigit() and int(batch)):
                raise LabError(f"--batch {batch}: a number of examples, 1 or more, or full")
        if self.batch_sweep and len(self.tasks) > 1:
            raise LabError("--batch-sweep goes with one task")
        try:
            usual = "constant" if self.preset else "cosine"
            object.__setattr__(self, "schedule", find(self.schedule or usual).name)
        except ValueError as error:
            raise LabError(f"--schedule: {error}") from error
        if self.optimizers is not None and len(set(self.optimizers)) < len(self.optimizers):
            raise LabError(f"--optimizers {','.join(self.optimizers)}: each may be named once")

    @property
    def work(self) -> Tier:
        """The tier, with what was asked for in its place."""
        tier = TIERS[self.tier]
        return replace(tier, seeds=self.seeds or tier.seeds, points=self.points or tier.points,
                       defaults=min(self.seeds or tier.defaults, tier.defaults),
                       runner_up=min(self.seeds or tier.runner_up, tier.runner_up))  # fmt: skip


def compare(settings: Settings, command: str) -> None:
    """Compares on each task, prints the verdicts and writes the reports."""
    names = (CLASSIC,) if settings.preset == "classic" else settings.tasks or ("digits",)
    found: dict[Path, Outcome] = {}
    for name in names:
        task = load_task(name, settings.data)
        folder = settings.out or Path("runs") / task.name
        folder = folder if len(names) == 1 or settings.out is None else folder / task.name
        found[folder] = on(name, task, folder, settings, command)
    reached = {o.facts.task.name: o.steps_to_easy_target() for o in found.values()} if len(names) > 1 else None
    for folder, one in found.items():
        page = folder / "report.html"
        _write(page, report.page(one, f"{words(one)} {speed(one)}".strip(), reached))
        terminal.show(one, page)


def on(name: str, task: Task, folder: Path, settings: Settings, command: str) -> Outcome:
    """Runs what is not in the folder's records yet, and returns what all of it says."""
    curriculum.check(settings.curriculum, task)
    if settings.preset == "classic":
        entries = search.classic(settings.optimizers)
    else:
        entries = search.entries(settings.optimizers or task.optimizers or search.DEFAULT)
    metric = task.metric_name if task.metric else None
    if settings.export:
        ready(settings.export)
    with Records(folder) as records, closing(Trackers(settings.track, folder, task.name, metric)) as trackers:
        data = task.load()
        sparse.check(entries, task, data)

        def at(batch: str | None, target: float | None) -> Outcome:
            sized = replace(task, batch=_batch(batch, task, data))
            return _outcome(name, sized, data, entries, records, trackers, settings, command, target)

        for trial, result in records:
            trackers.add(trial, result)
        main = at(settings.batch, settings.target)
        others = [at(batch, main.easy_target) for batch in settings.batch_sweep]
        if settings.export:
            export(records, metric, folder, settings.export)
    return replace(main, sweep=tuple(sorted(others, key=lambda o: o.facts.task.batch)))


def _outcome(
    name: str, task: Task, data: Data, entries: list[search.Entry], records: Records, trackers: Trackers,
    settings: Settings, command: str, target: float | None,
) -> Outcome:  # fmt: skip
    """At one batch size."""
    tier = settings.work
    epochs = settings.epochs or tier.epochs or task.epochs
    common = {"task": name, "epochs": epochs, "batch": task.batch, "schedule": settings.schedule,
              "curriculum": settings.curriculum}  # fmt: skip
    does = task.rehearse(data)
    makes = [maker(entry, does, common) for entry in entries]
    if settings.carry_over:
        makes = carried_over(entries, makes)
    studies = [Study(entry, tier, make, settings.extend, fixed=settings.preset is not None)
               for entry, make in zip(entries, makes, strict=True)]  # fmt: skip
    steps = epochs * -(-len(data.x) // task.batch)
    known = _run(studies, records, trackers, steps, name, data, settings)
    times = stopwatch.measure([(study.best(known), study.entry.cls) for study in studies], task, data)
    facts = Facts(
        task, command, epochs, steps, tier, settings.preset, settings.carry_over, str(settings.schedule), data
    )
    return outcome(studies, known, times, facts, target)


def _batch(asked: str | None, task: Task, data: Data) -> int:
    """Examples a step: the task's own, those asked for, or all."""
    batch = task.batch if asked is None else len(data.x) if asked == "full" else int(asked)
    if batch > len(data.x):
        raise LabError(f"--batch {asked}: task '{task.name}' has {len(data.x)} examples to train on")
    return batch


def _run(
    studies: Sequence[Study], records: Records, trackers: Trackers, steps: int, task_name: str, data: Data,
    settings: Settings,
) -> "Known":  # fmt: skip
    """Trains all that the studies want and the records lack. Each result may make a study want more."""
    known = Known(records)
    queue: deque[tuple[Trial, ...]] = deque()
    queued: set[Trial] = set()

    def ask() -> None:
        wanted = [study.wanted(known) for study in studies]
        jobs = list(zip(*wanted, strict=True)) if settings.carry_over else [(t,) for w in wanted for t in w]
        for job in jobs:
            if not queued.issuperset(job) and any(trial not in known for trial in job):
                queued.update(job)
                queue.append(job)

    ask()
    each = settings.work.seeds if settings.preset else settings.work.trials
    done = {t: known[t] for study in studies for t in study.wanted(known) if t in known}
    with Live([s.entry for s in studies], each, steps, done) as live:
        for kind, trial, value in sweep(queue, task_name, settings.data, data, settings.workers or cores(), records):
            if kind == "result":
                known.add(trial, value)
                trackers.add(trial, value)
                ask()
            live.show(kind, trial, value)
    return known


class Known(Mapping[Trial, Result]):
    """The records, with what was read of them kept."""

    def __init__(self, records: Records):
        self.records, self.read = records, dict[Trial, Result]()

    def __contains__(self, trial: object) -> bool:
        return trial in self.read or (isinstance(trial, Trial) and trial in self.records)

    def __getitem__(self, trial: Trial) -> Result:
        if trial not in self.read:
            self.read[trial] = self.records[trial]
        return self.read[trial]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.read)

    def __len__(self) -> int:
        return len(self.read)

    def add(self, trial: Trial, result: Result) -> None:
        """Records it first."""
        self.records.add(trial, result)
        self.read[trial] = result


def _write(page: Path, text: str) -> None:
    """Whole or not at all: a report that is there stays until the new one is complete."""
    part = page.with_name(f"{page.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, page)
    except OSError as error:
        raise LabError(f"{page}: cannot be written: {error.strerror}; all trials are recorded, run the same command "
                       "again when it can") from error  # fmt: skip
