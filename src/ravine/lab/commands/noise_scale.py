"""`ravine noise-scale`: trains a task for some steps and says how large a batch is still worth it."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from ravine.cli.answer import Parser, Whole, checked
from ravine.instruments import NoiseScale, critical_batch
from ravine.instruments.noise_scale import BLOCKS, Estimate, fieller
from ravine.instruments.noisy_quadratic import GOAL, KINDS

from ..errors import LabError
from ..protocol.closure import asks
from ..protocol.passes import advance, switch
from ..protocol.routing import made
from ..protocol.search import entries
from ..protocol.spaces import middle
from ..seeding import SEEDS, seed_all
from ..tasks import Data, Task, called, load_task, measured
from . import answer, given, of_optimizer, of_task

PARTS = 4  # of the run, for each of which the noise scale is told: it grows while the loss falls


RANGES = {"batch": Whole(2), "micros": Whole(2), "steps": Whole(PARTS * BLOCKS, 10**7), "seed": SEEDS}


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    task: str = "digits"
    data: Path | None = None
    optimizer: str = "adam"
    lr: float | None = None
    batch: int = 64
    micros: int = 8
    steps: int = 200
    seed: int = 0

    def __post_init__(self):
        checked(self, RANGES)
        if self.batch % self.micros:
            raise LabError(f"--batch {self.batch}: must be a multiple of --micros {self.micros}, which split it")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise LabError(f"--lr {self.lr:g}: must be above 0")


@dataclass(frozen=True)
class Part:
    """Some steps of the run."""

    first: int
    last: int
    loss: float
    scale: Estimate


def measure(task: Task, data: Data, asked: Settings) -> tuple[list[Part], float]:
    """Trains, and returns the noise scale of each part of the run and the rate that was taken."""
    if data.rows < asked.batch:
        raise LabError(f"--batch {asked.batch}: task '{task.name}' has {data.rows} examples to train on")
    (entry,) = entries([asked.optimizer], served=(), schedules=False)
    said = dict(entry.hyper)
    if "lr" in said and asked.lr is not None:
        raise LabError(f"--lr {asked.lr:g}: --optimizer {asked.optimizer} has a rate of its own; leave one of them out")
    lr = said.get("lr", middle(entry.cls)) if asked.lr is None else asked.lr
    seed_all(asked.seed)
    model = task.model()
    opt = made(entry.cls, model, dict(entry.built({"lr": lr})))
    if asks(opt):
        raise LabError(f"--optimizer {asked.optimizer} asks for gradients itself: the noise of a step is not known")
    switch("train", model, opt)
    order = torch.Generator().manual_seed(asked.seed)
    losses: list[float] = []
    with NoiseScale(model.parameters()) as noise:
        while len(losses) < asked.steps:
            for rows in torch.randperm(data.rows, generator=order).split(asked.batch)[: asked.steps - len(losses)]:
                if len(rows) < asked.batch:
                    continue
                model.zero_grad()
                loss = torch.zeros(())
                for part in rows.chunk(asked.micros):
                    x, y = task.drawn(data, part)
                    own = measured(task.loss, called(model, x), y) / asked.micros
                    own.backward()
                    noise.micro(len(part))
                    loss += own.detach()
                noise.step()
                advance(opt, loss)
                losses.append(loss.item())
        if len(noise.pairs) < len(losses):
            raise LabError(f"task '{task.name}' diverges with {asked.optimizer} at lr {lr:g}: give a smaller --lr")
        parts: list[Part] = []
        for i in range(PARTS):
            a, b = i * asked.steps // PARTS, (i + 1) * asked.steps // PARTS
            mean = sum(losses[a:b]) / (b - a)
            parts.append(Part(a + 1, b, mean, fieller(noise.pairs[a:b])))
    return parts, lr


def told(parts: list[Part], lr: float, asked: Settings) -> str:
    """The result in words."""
    rows = [(f"{x.first}-{x.last}", f"{x.loss:.4g}", figure(x.scale.value), interval(x.scale)) for x in parts]
    head = ("steps", "loss", "B_simple", "95 % interval")
    lines = [
        f"{asked.task} with {asked.optimizer} at lr {lr:g}, batches of {asked.batch} in {asked.micros} parts",
        *(f"{steps:>11}  {loss:>8}  {value:>8}  {between}" for steps, loss, value, between in (head, *rows)),
        "",
    ]
    batch, last = asked.batch, parts[-1].scale
    if math.isinf(last.value):
        return "\n".join([*lines, "At the end the signal is lost in the noise: give a larger --batch or more --steps."])
    where = (
        f"more than your batch of {batch}: it is mostly noise, and a larger one saves steps nearly in proportion."
        if batch < last.low
        else f"less than your batch of {batch}: it is mostly signal, and a smaller one saves examples."
        if batch > last.high
        else f"and your batch of {batch} is not clearly less or more: it balances steps and examples."
    )
    worth = batch / (batch + last.value)
    first = parts[0].scale.value
    critical = ", ".join(f"{figure(float(f'{critical_batch(first, kind):.1e}'))} with {kind}" for kind in KINDS)
    model = (
        "A noisy quadratic that begins with the noise of the first steps (Zhang et al. 2019) takes twice the fewest\n"
        f"steps to {GOAL:.0%} of its loss at batches of {critical}:\n"
        "above these, more examples in a batch save few steps. These are orders of magnitude, for a whole run."
    )
    return "\n".join(
        [
            *lines,
            f"At the end B_simple is {figure(last.value)} examples, {interval(last)},",
            where,
            f"A step with {batch} is worth 1 / (1 + B_simple/B) = {worth:.0%} of one without noise (McCandlish 2018).",
            "",
            *([model] if math.isfinite(first) else []),
        ]
    ).rstrip()


def figure(x: float) -> str:
    """A number of examples."""
    return "none" if math.isinf(x) else f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def interval(x: Estimate) -> str:
    """Where it lies."""
    return f"{figure(x.low)} to {figure(x.high)}" if math.isfinite(x.high) else f"{figure(x.low)} or more"


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: _run(argv), kept=False)


def _run(argv: list[str]) -> None:
    asked = Settings(**given(_parser(), argv))
    task = load_task(asked.task, asked.data)
    data = task.load()
    task.rehearse(data)
    print(told(*measure(task, data, asked), asked))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine noise-scale",
        description="Trains a task for some steps, measures the gradient noise scale from the gradients of parts of "
        "each batch, and says how large a batch is still worth it.",
    )
    add = parser.add_argument
    of_task(parser, Settings.task)
    of_optimizer(parser, Settings.optimizer)
    add("--lr", metavar="X", type=float, help="its learning rate (default: the middle of those `compare` tries)")
    add("--batch", metavar="N", type=RANGES["batch"], help=f"examples a step (default {Settings.batch})")
    add(
        "--micros",
        metavar="N",
        type=RANGES["micros"],
        help=f"parts of a batch whose gradients are seen (default {Settings.micros})",
    )
    add("--steps", metavar="N", type=RANGES["steps"], help=f"how many (default {Settings.steps})")
    add("--seed", metavar="N", type=RANGES["seed"], help=f"of weights and batches (default {Settings.seed})")
    return parser
