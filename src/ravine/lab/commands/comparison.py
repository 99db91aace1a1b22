"""The main job, straight down: tasks, a comparison on each, reports."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from ravine.cli.answer import write

from .. import report
from ..errors import LabError
from ..protocol import score
from ..protocol.outcome import Outcome
from ..protocol.quantity import Quantity
from ..protocol.reading import Reading, Row
from ..protocol.settings import CLASSIC, Settings
from ..protocol.verdict import speed, words
from ..report import terminal
from ..report.export import export, export_verdict, ready
from ..tasks import Task, load_task
from ..trackers import Trackers
from .board import board
from .one_task import on


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


def _page(found: Outcome, folder: Path, reached: score.Times | None = None, scores: score.Scores | None = None) -> None:
    """Whole or not at all: a report that is there stays until the new one is complete."""
    page = folder / PAGE
    try:
        write(page, report.page(found, f"{words(found)}\n{speed(found)}", reached, scores))
    except OSError as error:
        raise LabError(f"{page}: cannot be written: {error.strerror}; all trials are recorded, run the same command "
                       "again when it can") from error  # fmt: skip
