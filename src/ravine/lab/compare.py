"""The main job, straight down: task, plan, sweep, ranking, time per step, report."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ravine.schedules import find

from . import report, search, stopwatch
from .errors import LabError
from .live import Live
from .outcome import Facts, Method, Outcome, Tried
from .records import Records
from .stopwatch import StepTime
from .sweep import cores, sweep
from .tasks import load_task
from .trials import plan
from .verdict import Cell, Row, rank, words


@dataclass(frozen=True)
class Tier:
    """How much work: learning rates and seeds for each optimizer, and epochs (None: what the task says)."""

    lrs: int
    seeds: int
    epochs: int | None


TIERS = {"smoke": Tier(lrs=3, seeds=2, epochs=3), "standard": Tier(lrs=7, seeds=3, epochs=None)}
PRESETS = ("classic",)


@dataclass(frozen=True)
class Settings:
    """What the person asked for; None is what the task, the tier and the machine make of it."""

    task: str | None = None
    data: Path | None = None
    optimizers: tuple[str, ...] | None = None
    epochs: int | None = None
    seeds: int | None = None
    lrs: int | None = None
    tier: str = "standard"
    preset: str | None = None
    carry_over: bool = False
    schedule: str = "constant"
    out: Path | None = None
    workers: int | None = None
    png: Path | None = None
    pdf: Path | None = None

    def __post_init__(self):
        for name in ("epochs", "seeds", "lrs", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise LabError(f"--{name} {value}: must be 1 or more")
        if self.optimizers == ():
            raise LabError("--optimizers: name at least one")
        if self.preset == "classic" and self.task not in (None, "fashion-mnist"):
            raise LabError(f"--preset classic is an experiment on fashion-mnist: leave out --task {self.task}")
        if self.preset == "classic" and self.lrs is not None:
            raise LabError("--preset classic has one learning rate for each optimizer: leave out --lrs")
        if self.carry_over and self.preset != "classic":
            raise LabError("--carry-over goes with --preset classic")
        if (self.png or self.pdf) and find_spec("matplotlib") is None:
            raise LabError('--png and --pdf need matplotlib: pip install ".[lab]" in ravine\'s folder')
        try:
            object.__setattr__(self, "schedule", find(self.schedule).name)
        except ValueError as error:
            raise LabError(f"--schedule: {error}") from error
        if self.optimizers is not None and len(set(self.optimizers)) < len(self.optimizers):
            raise LabError(f"--optimizers {','.join(self.optimizers)}: each may be named once")


def compare(settings: Settings, command: str) -> Path:
    """Runs what is not in the records yet, prints the verdict, and writes and returns the report."""
    tier = TIERS[settings.tier]
    task_name = settings.task or ("fashion-mnist" if settings.preset else "digits")
    task = load_task(task_name, settings.data)
    if settings.preset == "classic":
        entries = search.classic(settings.optimizers)
    else:
        entries = search.entries(settings.optimizers or search.DEFAULT, settings.lrs or tier.lrs)
    epochs, seeds = settings.epochs or tier.epochs or task.epochs, settings.seeds or tier.seeds
    out = settings.out or Path("runs") / task.name

    with Records(out) as records:
        data = task.load()
        jobs = plan(
            entries, task_name, task, task.rehearse(data), epochs, seeds, settings.carry_over, settings.schedule
        )
        trials = [trial for job in jobs for trial in job]
        todo = [job for job in jobs if any(trial not in records for trial in job)]
        steps = epochs * -(-len(data.x) // task.batch)
        with Live(entries, trials, steps, {trial: records[trial] for trial in trials if trial in records}) as live:
            for kind, trial, value in sweep(todo, task_name, settings.data, data, settings.workers or cores()):
                if kind == "result":
                    records.add(trial, value)
                live.show(kind, trial, value)
        results = {trial: records[trial] for trial in trials}

    table = [
        (
            entry,
            [
                Cell(lr, tuple(results[t] for t in trials if (t.optimizer, t.lr) == (entry.name, lr)))
                for lr in entry.lrs
            ],
        )
        for entry in entries
    ]
    rows = rank(table)
    times = stopwatch.measure([(_trial(trials, row), row.entry.cls) for row in rows], task, data)
    seen = tuple(range(seeds))
    facts = Facts(
        task, command, epochs, steps, seen, seen, settings.preset, settings.carry_over, settings.schedule, data
    )
    outcome = Outcome(tuple(map(_method, rows, times)), None, None, facts)
    page = out / "report.html"
    _write(page, report.page(outcome, words(rows)))
    if settings.png or settings.pdf:
        report.stills(outcome, settings.png, settings.pdf)
    live.verdict(rows, times, task, page)
    return page


def _method(row: Row, time: StepTime) -> Method:
    """A row of the ranking as the report takes it: the grid is the search, and its best point is what is reported."""
    rest = dict(row.entry.hyper)
    tried = tuple(Tried({"lr": cell.lr, **rest}, cell.results) for cell in row.cells)
    return Method(
        row.entry, {"lr": (min(row.entry.lrs), max(row.entry.lrs))}, tried, {"lr": row.best.lr, **rest},
        row.best.results, (), (), ("lr",) if row.at_edge else (), "b" if row.behind else "a", time,
    )  # fmt: skip


def _write(page: Path, text: str) -> None:
    """Whole or not at all: a report that is there stays until the new one is complete."""
    part = page.with_name(f"{page.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, page)
    except OSError as error:
        raise LabError(f"{page}: cannot be written: {error.strerror}; all trials are recorded, run the same command "
                       "again when it can") from error  # fmt: skip


def _trial(trials, row: Row):
    return next(t for t in trials if (t.optimizer, t.lr) == (row.entry.name, row.best.lr))
