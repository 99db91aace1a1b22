"""`ravine compare --parallel`: the families of parallel training on one task, against time, gradients and bytes."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from ravine.cli.answer import Whole, checked, write
from ravine.visuals import Line, column, curves, ink
from ravine.visuals.figure import Figure

from ..errors import LabError
from ..families.families import named
from ..families.job import Job, Track
from ..families.run import run
from ..protocol import sparse
from ..protocol.closure import asks
from ..protocol.devices import cores
from ..protocol.given_spaces import spaced
from ..protocol.recipe import Recipe
from ..protocol.routing import made
from ..protocol.search import entries
from ..protocol.spaces import for_matrices
from ..protocol.study import SELECTION
from ..tasks import Data, Task, load_task

Found = dict[str, tuple[float, list[Track]]]  # of each family: the rate that was chosen, and its runs
CLOCKS = {"seconds": "seconds of training", "gradients": "gradients computed", "bytes": "megabytes sent and read"}
RANGES = {"workers": Whole(2, 256), "epochs": Whole(), "points": Whole(1, 64), "seeds": Whole(1, 100), "every": Whole()}


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    families: tuple[str, ...]
    task: str = "digits"
    data: Path | None = None
    optimizer: str = "adam"
    workers: int | None = None
    epochs: int | None = None
    points: int = 5
    seeds: int = 3
    batch: int | None = None
    every: int = 16
    out: Path | None = None

    def __post_init__(self):
        checked(self, RANGES)
        object.__setattr__(self, "families", tuple(dict.fromkeys(map(named, self.families))))


def compare(asked: Settings) -> None:
    """Choose a rate for each family on the validation data, run it with new seeds, and show what came of it."""
    task = load_task(asked.task, asked.data)
    data = task.load()
    (entry,) = spaced(entries([asked.optimizer], served=(), schedules=False), (), task.spaces, task.name)
    sparse.check([entry], task, data)
    if for_matrices(entry.cls):
        raise LabError(f"--parallel with {asked.optimizer}: a server has one rule for all weights, and this method is "
                       "for matrices; give another, such as adam")  # fmt: skip
    if issubclass(entry.cls, Recipe) or asks(made(entry.cls, task.model(), dict(entry.built(entry.corner(0))))):
        raise LabError(f"--parallel with {asked.optimizer}: the families take a class whose steps need gradients "
                       "alone, and no function, modifiers or closure; give another, such as adam")  # fmt: skip
    folder = asked.out or Path("runs") / f"{task.folder}-parallel"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(f"{folder}: cannot be made: {error.strerror}") from error
    batch, workers = asked.batch or task.batch, asked.workers or max(2, cores())
    gradients = (asked.epochs or task.epochs) * -(-data.rows // batch) // workers * workers
    if gradients < workers:
        raise LabError(f"--workers {workers}: {data.rows} rows have fewer batches of {batch} than that")
    base = Job(asked.task, asked.data, "", asked.optimizer, 0.0, 0, workers, gradients, batch, asked.every)
    found: Found = {}
    kept = Kept(folder / "runs.jsonl", task, data)
    for name in asked.families:
        job = replace(base, family=name, workers=1 if name == "serial" else workers)
        low, high = entry.space["lr"]
        rates = [float(f"{low * (high / low) ** ((i + 0.5) / asked.points):.2g}") for i in range(asked.points)]
        tried = {lr: kept.run(replace(job, lr=lr, seed=SELECTION)) for lr in rates}
        best = min(rates, key=lambda lr: tried[lr].loss[-1])
        found[name] = best, [kept.run(replace(job, lr=best, seed=seed)) for seed in range(asked.seeds)]
        print(f"{name}: lr {best:g}, validation loss {mean([t.loss[-1] for t in found[name][1]]):.4f}", flush=True)
    write(folder / "parallel.json", json.dumps(told(asked, found), indent=1))
    title = f"{task.name} with {asked.optimizer} on {workers} workers; mean and range of {asked.seeds} seeds"
    figures = [drawn(found, clock) for clock in CLOCKS]
    if served := {k: x for k, x in found.items() if x[1][0].apart}:
        figures.append(drawn(served, "gradients", "apart", "distance of copies to the server"))
    write(folder / "parallel.html", column(figures, title))
    show(found, asked, gradients, workers)
    print(f"\nPictures: {(folder / 'parallel.html').resolve().as_uri()}")


class Kept:
    """What was run, in a file of lines: the same command goes on where it was. A task that does something else than
    then, in data, weights or gradients, begins anew."""

    def __init__(self, path: Path, task: Task, data: Data):
        self.path, self.task, self.data, self.does = path, task, data, task.rehearse(data)
        self.known = dict[str, Track]()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
                self.known[entry["key"]] = Track(**entry["track"])
            except (ValueError, TypeError, KeyError):  # a line that was cut off, or is another's
                continue

    def run(self, job: Job) -> Track:
        """A track that is there, or a new one."""
        asked = json.dumps([asdict(job), self.does], sort_keys=True, default=str)
        key = hashlib.sha256(asked.encode()).hexdigest()[:32]
        if key not in self.known:
            self.known[key] = run(job, self.task, self.data)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "track": asdict(self.known[key])}) + "\n")
        return self.known[key]


def told(asked: Settings, found: Found) -> dict[str, object]:
    """All of it, for other programs."""
    return {
        "settings": {k: str(x) if isinstance(x, Path) else x for k, x in asdict(asked).items()},
        "families": {k: {"lr": lr, "runs": [asdict(t) for t in tracks]} for k, (lr, tracks) in found.items()},
    }


def drawn(found: Found, clock: str, what: str = "loss", title: str = "validation loss") -> Figure:
    """The validation loss, or something else, against one clock."""
    lines, scale = list[Line](), 1e-6 if clock == "bytes" else 1.0
    for i, (name, (lr, tracks)) in enumerate(found.items()):
        x = np.linspace(0.0, min(getattr(t, clock)[-1] for t in tracks), 61)
        runs = [np.interp(x, getattr(t, clock), getattr(t, what)).tolist() for t in tracks]
        lines.append(Line(f"{name}, lr {lr:g}", ink(i), (scale * x).tolist(), runs))
    return curves(lines, CLOCKS[clock], title)


def show(found: Found, asked: Settings, gradients: int, workers: int) -> None:
    """The table."""
    console = Console(highlight=False, markup=False, emoji=False)
    target = max(mean([t.loss[-1] for t in tracks]) for _, tracks in found.values())
    titles = "family", "validation loss", "test loss", "seconds", f"s to {target:.3g}", "MB", "staleness", "lr"
    table = Table(*titles, box=None, pad_edge=False)
    for name, (lr, tracks) in found.items():
        tests = [t.test for t in tracks if t.test is not None]
        table.add_row(
            name, spread([t.loss[-1] for t in tracks]), f"{mean(tests):.4f}" if tests else "",
            f"{mean([t.seconds[-1] for t in tracks]):.2f}", reached([first(t, target) for t in tracks]),
            f"{mean([t.bytes[-1] for t in tracks]) / 1e6:,.1f}",
            f"{mean(stale):.1f}" if (stale := [t.staleness for t in tracks if t.staleness is not None]) else "",
            f"{lr:g}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{gradients:,} gradients each, on {workers} workers of this machine; ± is half the range of {asked.seeds} "
        "seeds. Seconds are of training, without the start of processes. MB: what all workers sent and read. "
        "Staleness: steps of the server between a worker's reading and its push.",
        style="dim",
    )


def first(t: Track, target: float) -> float:
    """When the loss first was so low."""
    return next((at for at, loss in zip(t.seconds, t.loss, strict=True) if loss <= target), math.inf)


def reached(times: Sequence[float]) -> str:
    """The mean; a dash where one never was."""
    return f"{mean(times):.2f}" if all(map(math.isfinite, times)) else "–"


def mean(values: Sequence[float]) -> float:
    """Of all."""
    return sum(values) / len(values)


def spread(values: Sequence[float]) -> str:
    """The mean and half the range."""
    if not all(map(math.isfinite, values)):
        return "diverged"
    return f"{mean(values):.4f} ± {(max(values) - min(values)) / 2:.4f}"
