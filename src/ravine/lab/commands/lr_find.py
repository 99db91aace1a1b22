"""`ravine lr-find`: the range test on a task, with a picture and a suggestion."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ravine.cli.answer import Parser, Whole, checked, drawable, replacing
from ravine.visuals import page, terminal
from ravine.visuals.rates import rates as figure_of

from ..errors import LabError, extra
from ..protocol import curvature, routing, sparse
from ..protocol.range_test import rates, rise
from ..protocol.search import entries
from ..protocol.spaces import by_signs, for_matrices
from ..protocol.suggestion import ROUGH, RangeTest, read
from ..seeding import seed_all
from ..tasks import Data, Rows, Task, called, load_task
from ..threads import one_thread
from . import answer, given, of_optimizer, of_task

FORMATS = (".html", ".png", ".svg", ".pdf")


RANGES = {"seeds": Whole(1, 1000), "batch": Whole(), "steps": Whole(20, 10**6)}


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    task: str = "digits"
    data: Path | None = None
    optimizer: str = "adam"
    seeds: int = 3
    batch: int | None = None
    steps: int = 100
    low: float = 1e-7
    high: float = 10.0
    linear: bool = False
    out: Path | None = None

    def __post_init__(self):
        checked(self, RANGES)
        if self.out is not None:
            drawable(self.out, FORMATS)


@dataclass(frozen=True)
class Batches:
    """The rows in a new order each time, as every trial of the lab has them."""

    task: Task
    data: Data
    size: int

    def __iter__(self) -> Iterator[tuple[Rows, Rows]]:
        for rows in torch.randperm(self.data.rows).split(self.size):
            yield self.task.drawn(self.data, rows)


def test(task: Task, data: Data, asked: Settings) -> RangeTest:
    """The range test, each seed with weights of its own."""
    (entry,) = entries([asked.optimizer], schedules=False)
    if "lr" in dict(entry.hyper):
        raise LabError(f"--optimizer {asked.optimizer}: the range test tries every rate; leave lr out")
    lrs = rates(asked.low, asked.high, asked.steps, "linear" if asked.linear else "geometric")
    routing.check([entry], task)
    sparse.check([entry], task, data)
    curvature.check([entry], task, data)
    with_rest = max(1.0, routing.ratio(entry.cls, dict(entry.hyper)))  # the test raises the larger of the two rates
    losses: list[tuple[float, ...]] = []
    for seed in range(asked.seeds):
        seed_all(seed)
        model = task.model()
        opt = routing.made(entry.cls, model, dict(entry.built({"lr": asked.low})))
        batches = Batches(task, data, asked.batch or task.batch)
        loss = partial(task.objective, model) if task.penalty or data.y is None else task.loss
        losses.append(rise(model, [opt], batches, loss, [with_rest * lr for lr in lrs], called))
    return read(lrs, losses, signs=by_signs(entry.cls))


def told(found: RangeTest, asked: Settings) -> str:
    """The result in words and as a picture."""
    head = f"{asked.task} with {asked.optimizer}: the loss while lr rises, mean of {asked.seeds} seeds"
    if not found.smooth:  # there is nothing to draw
        return f"{head}\n\n{found}"
    top = found.start + 0.5 * (found.start - min(found.smooth, default=0))  # what explodes would hide the rest
    *curve, _ = terminal([min(x, top) for x in (found.start, *found.smooth)], height=10).splitlines()
    ends = f"{asked.low:.2g}", f"{found.lrs[len(found.smooth) - 1]:.2g}"
    foot = f"{'':8}{ends[0]}{ends[1]:>{max(map(len, curve)) - 8 - len(ends[0])}}"
    rest = beside(asked)
    return "\n".join([head, "", *curve, foot, "", str(found), *rest, *(["", ROUGH] if found.lr else [])])


def beside(asked: Settings) -> list[str]:
    """What else has risen: the rate of AdamW beside a method for matrices."""
    (entry,) = entries([asked.optimizer])
    if not for_matrices(entry.cls):
        return []
    part = routing.ratio(entry.cls, dict(entry.hyper))
    how = "at the same rate" if part == 1 else f"at {part:g} times this rate"
    return ["", f"AdamW, which has the weights that are no matrices inside the model, rose beside it {how}."]


def write(found: RangeTest, title: str, path: Path) -> None:
    """A page that opens offline, or a still picture."""
    figure = figure_of(found.lrs, found.losses, found.smooth, found.lr)
    try:
        with extra("lab", f"-o {path}"), replacing(path) as part:
            if path.suffix == ".html":
                part.write_text(page(figure, title), encoding="utf-8")
            else:
                from ravine.visuals.still import still

                still(figure | {"title": title}).savefig(part, dpi=200)
    except OSError as error:
        raise LabError(f"-o {path}: cannot be written: {error.strerror}") from error


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: _run(argv), kept=False)


def _run(argv: list[str]) -> None:
    asked = Settings(**given(_parser(), argv))
    task = load_task(asked.task, asked.data)
    with one_thread():
        data = task.load()
        task.rehearse(data)
        found = test(task, data, asked)
    print(told(found, asked))
    if asked.out is not None and not found.smooth:
        print(f"\nthere is no curve to draw: {asked.out} is not written")
    elif asked.out is not None:
        say = "no suggestion" if found.lr is None else f"try lr {found.lr:.2g}"
        write(found, f"{asked.task} with {asked.optimizer}: {say}", asked.out)
        print(f"\nwritten to {asked.out}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine lr-find",
        description="Trains a task for some steps while the learning rate rises, and suggests one (Smith 2017). A "
        "rough guide that takes seconds; `ravine compare` and `ravine tune` search.",
    )
    add, usual = parser.add_argument, Settings
    of_task(parser, usual.task)
    of_optimizer(parser, usual.optimizer)
    add("--seeds", metavar="N", type=RANGES["seeds"], help=f"initial weights and batch orders (default {usual.seeds})")
    add("--batch", metavar="N", type=RANGES["batch"], help="examples a step (default: the task's)")
    add("--steps", metavar="N", type=RANGES["steps"], help=f"rates (default {usual.steps})")
    add("--low", metavar="X", type=float, help=f"the first rate (default {usual.low:g})")
    add("--high", metavar="X", type=float, help=f"the last rate (default {usual.high:g})")
    add("--linear", action="store_true", help="raise it in equal steps, as the paper does, not in equal ratios")
    add("-o", "--out", metavar="FILE", type=Path, help=f"the curve as {' or '.join(FORMATS)}")
    return parser
