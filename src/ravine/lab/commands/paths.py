"""`ravine paths`: where optimizers go in a network's space of weights, drawn over its true loss."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ravine.cli.answer import Parser, Whole, checked, drawable, replacing
from ravine.strategies import PathRecorder
from ravine.surfaces.plane import Plane
from ravine.typed import listed

from ..errors import LabError, extra
from ..protocol import curvature, routing, sparse
from ..protocol.given_spaces import spaced
from ..protocol.search import Entry, entries
from ..protocol.study import SELECTION
from ..protocol.trial import Trial, run
from ..seeding import SEEDS, seed_all
from ..tasks import Data, Task, called, load_task, take
from ..threads import one_thread
from . import NAMED, answer, given, of_task

FORMATS = (".png", ".svg", ".pdf")
SNAPSHOTS = 60  # of each path


RANGES = {
    "epochs": Whole(1, 10**6), "batch": Whole(), "rates": Whole(1, 1000), "seed": SEEDS, "rows": Whole(),
    "points": Whole(3, 1000),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    task: str = "digits"
    data: Path | None = None
    optimizers: tuple[str, ...] = ("sgd", "momentum", "adam")
    epochs: int | None = None
    batch: int | None = None
    rates: int = 7
    seed: int = 0
    rows: int = 2000
    points: int = 61
    centre: str = "mean"
    out: Path = Path("paths.png")

    def __post_init__(self):
        checked(self, RANGES)
        if len(set(self.optimizers)) < len(self.optimizers) or not self.optimizers:
            raise LabError(f"--optimizers {','.join(self.optimizers)}: name at least one, and each once")
        drawable(self.out, FORMATS)


class Training:
    """A task at the settings that were asked for: an optimizer's rate is chosen, then its path recorded."""

    def __init__(self, asked: Settings, task: Task, data: Data):
        self.asked, self.task, self.data = asked, task, data
        self.epochs, self.batch = asked.epochs or task.epochs, asked.batch or task.batch

    def trial(self, entry: Entry, lr: float, seed: int) -> Trial:
        """One training."""
        return Trial(self.task.name, entry.name, entry.built({"lr": lr}), seed, self.epochs, self.batch, content="",
                     schedule=entry.schedule or "constant")  # fmt: skip

    def rate(self, entry: Entry) -> float:
        """Of rates over the published space of lr the one with the lowest validation loss; of one, its middle."""
        if "lr" in dict(entry.hyper):
            return dict(entry.hyper)["lr"]
        low, high = entry.space["lr"]
        if self.asked.rates == 1:
            return float(f"{(low * high) ** 0.5:.3g}")
        each = [low * (high / low) ** (i / (self.asked.rates - 1)) for i in range(self.asked.rates)]
        tried = {lr: run(self.trial(entry, lr, SELECTION), self.task, self.data, entry.cls)[0].final for lr in each}
        best = min(tried, key=tried.__getitem__)
        if math.isinf(tried[best]):
            raise LabError(f"{entry.name}: it diverged at every rate from {low:g} to {high:g}; name more with --rates")
        return float(f"{best:.3g}")

    def path(self, entry: Entry, lr: float) -> PathRecorder:
        """The weights on the way, with a seed that the rate was not chosen with."""
        seed_all(self.asked.seed)
        model, steps = self.task.model(), self.epochs * -(-self.data.rows // self.batch)
        recorder = PathRecorder(model, every=max(1, steps // SNAPSHOTS))

        def follow(opt: torch.optim.Optimizer) -> None:
            within = 0  # steps in each other: a subclass whose step() calls super().step() runs all hooks twice

            def begin(*_: object) -> None:
                nonlocal within
                within += 1

            def end(*_: object) -> None:
                nonlocal within
                within -= 1
                if not within:
                    recorder.step()

            opt.register_step_pre_hook(begin)
            opt.register_step_post_hook(end)

        with recorder:
            run(self.trial(entry, lr, self.asked.seed), self.task, self.data, entry.cls, model, meet=follow)
        return recorder

    def plane(self, paths: Mapping[str, PathRecorder]) -> Plane:
        """The training loss of the first rows over the plane of all paths."""
        x, y = (take(part, self.data.first(self.asked.rows)) for part in self.data[:2])

        def loss(model: nn.Module) -> torch.Tensor:
            return self.task.objective(model, called(model, x), y)

        try:
            return Plane(next(iter(paths.values())).model, paths, loss, cast(Any, self.asked.centre))
        except ValueError as error:
            raise LabError(str(error)) from error


def told(plane: Plane) -> str:
    """The plane and its paths in words."""
    lines = [
        f"{sum(plane.shares):.1%} of the variance of the paths lies in the plane ({plane.shares[0]:.1%} and "
        f"{plane.shares[1]:.1%}); for random walks in their place it would be {sum(plane.walks):.1%}",
        "",
        f"{'':24}{'in the plane':>13}{'loss at the end':>17}{'of the plane':>14}{'distance from it':>18}",
    ]
    for name, track in plane.tracks.items():
        end = f"{track.losses[-1]:17.4g}{track.beneath[-1]:14.4g}{track.away[-1]:18.3g}"
        note = f"  infinite after step {track.steps[-1]}" if track.broken else ""
        lines.append(f"{name:24}{track.held:13.1%}{end}{note}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: _run(argv), kept=False)


def _run(argv: list[str]) -> None:
    asked = Settings(**given(_parser(), argv))
    with extra("lab", "ravine paths"):
        import matplotlib  # noqa: F401  # before any training
    task = load_task(asked.task, asked.data)
    with one_thread():
        data = task.load()
        task.rehearse(data)
        chosen = spaced(entries(asked.optimizers), (), task.spaces, task.name)
        routing.check(chosen, task)
        sparse.check(chosen, task, data)
        curvature.check(chosen, task, data)
        training = Training(asked, task, data)
        rates = {entry: training.rate(entry) for entry in chosen}
        plane = training.plane({f"{e.label}, lr {lr:g}": training.path(e, lr) for e, lr in rates.items()})
        print(told(plane))
        how = f"best of {asked.rates} by validation loss" if asked.rates > 1 else "the middle of the published space"
        rows = min(asked.rows, data.rows)
        title = f"{task.name}, {training.epochs} epochs: loss of {rows:,} training examples; lr: {how}"
        sheet = plane.draw(title, asked.points)
    try:
        with replacing(asked.out) as part:
            sheet.savefig(part, dpi=110)
    except OSError as error:
        raise LabError(f"-o {asked.out}: cannot be written: {error.strerror}") from error
    print(f"\nwritten to {asked.out}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine paths",
        description="Trains a task with several optimizers from the same weights on the same batches, records where "
        "they go, and draws the true loss over the plane that lies closest to their paths.",
    )
    add, usual = parser.add_argument, Settings
    of_task(parser, usual.task)
    add(
        "--optimizers",
        metavar="A,B",
        type=listed,
        help=f"{NAMED} (default {','.join(usual.optimizers)})",
    )
    add("--epochs", metavar="N", type=RANGES["epochs"], help="how long each runs (default: the task's)")
    add("--batch", metavar="N", type=RANGES["batch"], help="examples a step (default: the task's)")
    add(
        "--rates",
        metavar="N",
        type=RANGES["rates"],
        help=f"learning rates that are tried first, over three decades; 1 takes the middle (default {usual.rates})",
    )
    add("--seed", metavar="N", type=RANGES["seed"], help=f"of weights and batches (default {usual.seed})")
    add(
        "--rows",
        metavar="N",
        type=RANGES["rows"],
        help=f"training examples whose loss is drawn (default {usual.rows}, or all)",
    )
    add(
        "--points",
        metavar="N",
        type=RANGES["points"],
        help=f"of the longer side at which it is computed (default {usual.points})",
    )
    add(
        "--centre",
        choices=("mean", "first", "last"),
        help="of the plane: of all snapshots, the first, or the last (default mean)",
    )
    add("-o", "--out", metavar="FILE", type=Path, help=f"the picture as {' or '.join(FORMATS)} (default {usual.out})")
    return parser
