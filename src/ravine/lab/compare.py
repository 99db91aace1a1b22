"""The main job, straight down: tasks, studies, sweep, time per step, outcome, reports."""

import math
import os
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from . import curriculum, report, search, sparse, stopwatch, terminal
from . import devices as where
from .errors import LabError
from .export import export, ready
from .inside import Inside, look
from .live import Live
from .outcome import Facts, Outcome, outcome
from .records import Known, Records
from .settings import CLASSIC, Settings
from .study import Study
from .sweep import sweep
from .tasks import Data, Task, load_task
from .threads import one_thread
from .trackers import Trackers
from .trial import Trial
from .trials import carried_over, maker
from .verdict import speed, words


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
        _write(page, report.page(one, f"{words(one)}\n{speed(one)}", reached))
        name, several = one.facts.task.name, len(names) > 1
        png = settings.png / name if settings.png and several else settings.png
        pdf = settings.pdf.with_stem(f"{settings.pdf.stem}-{name}") if settings.pdf and several else settings.pdf
        report.stills(one, png, pdf, reached)
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
        if settings.train:
            asked = asdict(replace(settings, tasks=(name,), png=None, pdf=None, export=None, track=()))
            records.remember("comparison", {"command": command, "in": Path.cwd(), "settings": asked})
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
    epochs = settings.epochs or math.ceil(tier.share * task.epochs)
    common = {"task": name, "epochs": epochs, "batch": task.batch, "schedule": settings.schedule,
              "curriculum": settings.curriculum, "device": where.kind(settings.devices),
              "precision": settings.precision, "compiled": settings.compile}  # fmt: skip
    does = task.rehearse(data)
    makes = [maker(entry, does, common) for entry in entries]
    if settings.carry_over:
        makes = carried_over(entries, makes)
    studies = [Study(entry, tier, make, settings.extend, fixed=settings.preset is not None)
               for entry, make in zip(entries, makes, strict=True)]  # fmt: skip
    steps = epochs * -(-len(data.x) // task.batch)
    known = _run(studies, records, trackers, steps, name, data, settings)
    best = [(study.best(known), study.entry.cls) for study in studies]
    times, looks = stopwatch.measure(best, task, data), [_look(records, *one, task, data) for one in best]
    facts = Facts(
        task, command, epochs, steps, tier, settings.preset, settings.carry_over, str(settings.schedule), data,
        settings.computed,
    )  # fmt: skip
    return outcome(studies, known, times, looks, facts, target)


def _look(records: Records, trial: Trial, cls: type, task: Task, data: Data) -> Inside | None:
    """What a monitor sees inside this trial; looked at once, and not where it diverged."""
    if records[trial].diverged_at is not None or trial.device != "cpu":
        return None
    if (kept := records.recalled(f"inside {trial.key}")) is None:
        with one_thread():
            kept = asdict(look(trial, task, data, cls))
        records.remember(f"inside {trial.key}", kept)
    return Inside(**kept)


def _batch(asked: str | None, task: Task, data: Data) -> int:
    """Examples a step: the task's own, those asked for, or all."""
    batch = task.batch if asked is None else len(data.x) if asked == "full" else int(asked)
    if batch > len(data.x):
        raise LabError(f"--batch {asked}: task '{task.name}' has {len(data.x)} examples to train on")
    return batch


def _run(
    studies: Sequence[Study], records: Records, trackers: Trackers, steps: int, task_name: str, data: Data,
    settings: Settings,
) -> Known:  # fmt: skip
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
    workers = settings.devices if settings.train else ()
    with Live([s.entry for s in studies], each, steps, done, records.notes({*done, *queued})) as live:
        for kind, trial, value in sweep(queue, task_name, settings.data, data, workers, records, settings.engine):
            if kind == "result":
                known.add(trial, value)
                trackers.add(trial, value)
                ask()
            live.show(kind, trial, value)
    return known


def _write(page: Path, text: str) -> None:
    """Whole or not at all: a report that is there stays until the new one is complete."""
    part = page.with_name(f"{page.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, page)
    except OSError as error:
        raise LabError(f"{page}: cannot be written: {error.strerror}; all trials are recorded, run the same command "
                       "again when it can") from error  # fmt: skip
