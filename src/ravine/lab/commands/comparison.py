"""The main job, straight down: tasks, studies, sweep, time per step, what was found, reports."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from ravine.cli.answer import write

from .. import report
from ..errors import LabError
from ..protocol import curriculum, curvature, routing, score, search, sparse, stopwatch
from ..protocol import devices as where
from ..protocol.decode import Garbled, decoded
from ..protocol.found import About, Facts, Found, Made, Plan, chosen
from ..protocol.given_spaces import spaced
from ..protocol.inside import Inside, look
from ..protocol.outcome import Outcome, outcome
from ..protocol.plan import planned, set_down
from ..protocol.quantity import Quantity, Seen
from ..protocol.reading import Reading, Row
from ..protocol.records import Known, Records
from ..protocol.settings import CLASSIC, Settings, examples
from ..protocol.stopwatch import StepTime
from ..protocol.study import Study
from ..protocol.trial import Trial
from ..protocol.trials import carried_over, maker
from ..protocol.verdict import speed, words
from ..report import terminal
from ..report.export import export, export_verdict, ready
from ..sweep.live import Live
from ..sweep.sweep import TrialFailed, sweep
from ..tasks import Data, Task, load_task
from ..threads import one_thread
from ..trackers import Trackers
from .board import Board, board

T = TypeVar("T")


def compare(settings: Settings, command: str, serve: int | None = None) -> None:
    """Compares on each task, writes the reports and prints the verdicts; meanwhile there is a live page at the port
    `serve`."""
    names = (CLASSIC,) if settings.preset == "classic" else settings.tasks or ("digits",)
    folders, found = _folders(names, settings), dict[Path, Outcome]()
    for task in folders.values():
        Quantity.of(settings.by, task)  # what is wrong with it is said before anything is run, or forgotten
    with board(serve) as live:
        for name, (folder, task) in zip(names, folders.items(), strict=True):
            found[folder] = on(name, task, folder, settings, command, live)
            _page(found[folder], folder)  # now: what comes next may fail
        several = {o.facts.task.name: o for o in found.values()} if len(names) > 1 else {}
        reached, whole = (score.times(several), score.scores(several)) if several else (None, None)
        for folder, one in found.items() if reached else ():
            _page(one, folder, reached, whole)
        if live:
            live.end((list(found)[-1] / PAGE).read_text(encoding="utf-8"))
    for folder, one in found.items():
        if settings.export:
            with Reading(folder) as records:
                _export(records.rows(), one, folder, settings.export)
        part = folder.name
        png = settings.png / part if settings.png and several else settings.png
        pdf = settings.pdf.with_stem(f"{settings.pdf.stem}-{part}") if settings.pdf and several else settings.pdf
        report.stills(one, png, pdf, reached)
    for folder, one in found.items():
        terminal.show(one, folder / PAGE)
    if whole:
        terminal.scores(whole)


PAGE = "report.html"


def rewrite(
    found: Outcome, rows: Sequence[Row], folder: Path, png: Path | None = None, pdf: Path | None = None,
    export: str | None = None, track: Sequence[str] = (),
) -> None:  # fmt: skip
    """Writes the report of an earlier comparison again, and what else is asked for: nothing of it is run."""
    if export:
        ready(export)
    _page(found, folder)
    with closing(Trackers(track, folder, found.facts.task.name, found.facts.task.metric, found.usual)) as trackers:
        for row in rows:
            trackers.add(row.trial, row.result)
    if export:
        _export(rows, found, folder, export)
    report.stills(found, png, pdf)
    terminal.show(found, folder / PAGE)


def _export(rows: Iterable[Row], found: Outcome, folder: Path, form: str) -> None:
    export([(row.trial, row.result) for row in rows], found.facts.task.metric, folder, form, found.usual)
    export_verdict(found, folder, form)


def _folders(names: Sequence[str], settings: Settings) -> dict[Path, Task]:
    """The folder of each task: all tasks are made before any is run, and no two share a folder."""
    out: dict[Path, Task] = {}
    for name in names:
        task = load_task(name, settings.data)
        folder = settings.out or Path("runs") / task.folder
        folder = folder if len(names) == 1 or settings.out is None else folder / task.folder
        if folder in out:
            raise LabError(f"--task {','.join(names)}: '{task.name}' and '{out[folder].name}' would share the folder "
                           f"{folder}: compare them one at a time, with an --out for each")  # fmt: skip
        out[folder] = task
    return out


def on(name: str, task: Task, folder: Path, settings: Settings, command: str, live: Board | None = None) -> Outcome:
    """Runs what is not in the folder's records yet, and returns what all of it says."""
    curriculum.check(settings.curriculum, task)
    if settings.preset == "classic":
        entries = search.classic(settings.optimizers)
    elif settings.preset == "self-tuning":
        entries = search.self_tuning(settings.optimizers)
    else:
        entries = search.entries(settings.optimizers or task.optimizers or search.DEFAULT)
        entries = spaced(entries, settings.space, task.spaces, task.name)
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
        target = None if settings.target is None else quantity.at(settings.target)
        plan = _planned(settings, entries, task, data, asked, records, target, quantity.name)

        def at(batch: str | None, target: float | None) -> Found:
            sized = replace(task, batch=_batch(batch, task, data))
            return _found(name, sized, data, entries, records, trackers, settings, command, target, plan, live)

        for trial, result in records:
            trackers.add(trial, result)
        main = at(settings.batch, target)
        if settings.batch_sweep:
            aim = outcome(main, records.results()).aim
            main = _at_all_sizes(main, [at(batch, aim) for batch in settings.batch_sweep])
        records.remember("found", asdict(main))
        return outcome(main, records.results())


def _found(
    name: str, task: Task, data: Data, entries: list[search.Entry], records: Records, trackers: Trackers,
    settings: Settings, command: str, target: float | None, plan: Plan | None,
    live: Board | None,
) -> Found:  # fmt: skip
    """At one batch size."""
    tier, epochs = settings.work, _epochs(settings, task)
    common = {"task": name, "epochs": epochs, "batch": task.batch, "schedule": settings.schedule,
              "curriculum": settings.curriculum, "device": where.kind(settings.devices),
              "precision": settings.precision, "compiled": settings.compile,
              "evaluations": settings.evaluations}  # fmt: skip
    does = task.rehearse(data)
    about = About.of(task, data)
    makes = [maker(entry, does, common, settings.give_up) for entry in entries]
    if settings.carry_over:
        makes = carried_over(entries, makes)
    studies = [Study(entry, tier, make, settings.extend, settings.preset is not None, settings.search_seed)
               for entry, make in zip(entries, makes, strict=True)]  # fmt: skip
    steps = epochs * -(-data.rows // task.batch)
    quantity = Quantity.of(settings.by, task)
    known, failed = _run(studies, records, trackers, steps, name, data, settings, quantity, live)
    seen = Seen(known, quantity)
    studies = [study for study in studies if study.entry.name not in failed]
    missing = [f"{entry.label} has no row: {failed[entry.name]}" for entry in entries if entry.name in failed]
    best = [(study.chosen(seen)[1][0], study.entry) for study in studies]
    times = _times([(t, e) for t, e in best], task, data, missing)
    looks = [_tried(lambda t=t, e=e: _look(records, t, e.cls, task, data), f"{e.label}: what happens inside", missing)
             for t, e in best]  # fmt: skip
    facts = Facts(
        about, command, epochs, steps, tier, settings.preset, settings.carry_over, str(settings.schedule),
        settings.search_seed, settings.computed, quantity, Made.here(), plan, settings.give_up,
    )  # fmt: skip
    methods = [chosen(study, seen, time, inside) for study, time, inside in zip(studies, times, looks, strict=True)]
    return Found(facts, tuple(methods), target, tuple(missing))


def _epochs(settings: Settings, task: Task) -> int:
    return settings.epochs or math.ceil(settings.work.share * task.epochs)


WHATEVER = ("data", "out", "workers", "engine", "png", "pdf", "export", "track")  # settings that decide no result


def _planned(
    settings: Settings, entries: Sequence[search.Entry], task: Task, data: Data, asked: Mapping[str, Any],
    records: Records, target: float | None, quantity: str,
) -> Plan | None:  # fmt: skip
    """The test of steps to the target that is asked for, set down before any run."""
    if target is None or len(entries) < 2 or settings.carry_over:
        return None
    steps = _epochs(settings, task) * -(-data.rows // _batch(settings.batch, task, data))
    decides = {name: x for name, x in asked.items() if name not in WHATEVER}
    made = planned(target, entries, steps, settings.work, settings.preset is not None, decides, quantity)
    return set_down(made, records)


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


def _look(records: Records, trial: Trial, cls: type, task: Task, data: Data) -> Inside | None:
    """What a monitor sees inside this trial; looked at once, and not where it diverged."""
    if records[trial].diverged_at is not None or trial.device != "cpu":
        return None
    with suppress(Garbled):
        kept = decoded(Inside, records.recalled(f"inside {trial.key}"))
        kept.sound()
        return kept
    with one_thread():
        made = look(trial, task, data, cls)
    records.remember(f"inside {trial.key}", asdict(made))
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


def _run(
    studies: Sequence[Study], records: Records, trackers: Trackers, steps: int, task_name: str, data: Data,
    settings: Settings, quantity: Quantity, page: Board | None,
) -> tuple[Known, dict[str, str]]:  # fmt: skip
    """Trains all that the studies want and the records lack. Each result may make a study want more. An optimizer that
    fails in a trial has no more of them: its name, and why. What failed is not recorded, and tried again next time."""
    known, failed = Known(records), dict[str, str]()
    seen = Seen(known, quantity)
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
    with Live([s.entry for s in studies], each, steps, done, notes, quantity.name) as live:
        if page:
            labels = {s.entry.name: s.entry.label for s in studies}
            page.show(lambda: len(live.done),
                      lambda: report.so_far(task_name, labels, dict(live.done), live.total, quantity.name))  # fmt: skip
        for kind, trial, value in sweep(
            queue, task_name, settings.data, data, settings.devices, records, settings.engine
        ):
            if kind == "result":
                known.add(trial, value)
                trackers.add(trial, value)
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


def _page(found: Outcome, folder: Path, reached: score.Times | None = None, scores: score.Scores | None = None) -> None:
    """Whole or not at all: a report that is there stays until the new one is complete."""
    page = folder / PAGE
    try:
        write(page, report.page(found, f"{words(found)}\n{speed(found)}", reached, scores))
    except OSError as error:
        raise LabError(f"{page}: cannot be written: {error.strerror}; all trials are recorded, run the same command "
                       "again when it can") from error  # fmt: skip
