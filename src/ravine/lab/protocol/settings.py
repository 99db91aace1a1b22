"""What the person asked `ravine compare` for, checked before anything is done."""

import math
from argparse import ArgumentTypeError
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ravine.cli.answer import Whole, checked
from ravine.schedules.written import written

from ..errors import LabError
from . import devices as where
from .quantity import BY
from .study import TIERS, Tier

PRESETS = ("classic", "self-tuning")
LONGER = 1.5  # times the epochs of a search's trials, in the self-tuning track: AlgoPerf's factor
CLASSIC = "fashion-mnist-classic"  # the task of that preset: 60,000 images to train on, validated on the test images


RANGES = {
    "epochs": Whole(1, 10**6),
    "seeds": Whole(1, 1000),
    "points": Whole(1, 10_000),
    "search_seed": Whole(0, 1000),
    "evaluations": Whole(1, 10**6),
}


def examples(batch: str, option: str = "--batch") -> int:
    """A number of examples as it was typed."""
    try:
        return Whole()(batch)
    except ArgumentTypeError as error:
        raise LabError(f"{option} {batch:.60}: a number of examples, 1 or more, or full ({error})") from None


@dataclass(frozen=True)
class Settings:
    """What the person asked for; None is what the task, the tier and the machine make of it."""

    tasks: tuple[str, ...] = ()
    data: Path | None = None
    optimizers: tuple[str, ...] | None = None
    space: tuple[str, ...] = ()
    epochs: int | None = None
    seeds: int | None = None
    points: int | None = None
    search_seed: int = 0
    extend: bool = False
    evaluations: int | None = None
    give_up: float | None = None
    batch: str | None = None
    batch_sweep: tuple[str, ...] = ()
    tier: str = "standard"
    preset: str | None = None
    carry_over: bool = False
    schedule: str | None = None
    curriculum: str = "none"
    target: float | None = None
    by: str = "loss"
    out: Path | None = None
    workers: str | None = None
    engine: str = "processes"
    precision: str = "float32"
    compile: bool = False
    png: Path | None = None
    pdf: Path | None = None
    track: tuple[str, ...] = ()
    export: str | None = None

    def __post_init__(self):
        if self.engine == "processes":
            where.check(self.devices)
        checked(self, RANGES)
        if self.optimizers == ():
            raise LabError("--optimizers: name at least one")
        if self.preset == "classic" and self.tasks not in ((), ("fashion-mnist",), (CLASSIC,)):
            raise LabError(
                f"--preset classic is an experiment on fashion-mnist: leave out --task {','.join(self.tasks)}"
            )
        if self.preset and (self.points is not None or self.extend or self.space):
            raise LabError(f"--preset {self.preset} searches nothing: leave out --points, --extend and --space")
        if self.carry_over and self.preset != "classic":
            raise LabError("--carry-over goes with --preset classic")
        if self.give_up is not None and not 0 < self.give_up < 1:
            raise LabError(f"--give-up {self.give_up:g}: must be a share of the run, above 0 and below 1")
        if self.give_up is not None and self.preset:
            raise LabError(f"--preset {self.preset} searches nothing: leave out --give-up")
        if self.by not in BY:
            raise LabError(f"--by {self.by:.60}: must be {' or '.join(BY)}")
        if (self.png or self.pdf) and find_spec("matplotlib") is None:
            raise LabError('--png and --pdf need matplotlib: pip install ".[lab]" in ravine\'s folder')
        for option, batches in (("--batch", (self.batch,)), ("--batch-sweep", self.batch_sweep)):
            for batch in batches:
                if batch not in (None, "full"):
                    examples(batch, option)
        if self.target is not None and not math.isfinite(self.target):
            raise LabError(f"--target {self.target:g}: must be a number")
        if self.batch_sweep and len(self.tasks) > 1:
            raise LabError("--batch-sweep goes with one task")
        try:
            usual = "constant" if self.preset == "classic" else "cosine"
            object.__setattr__(self, "schedule", written(self.schedule or usual))
        except (ValueError, TypeError) as error:
            raise LabError(f"--schedule: {error}") from error
        if self.optimizers is not None and len(set(self.optimizers)) < len(self.optimizers):
            raise LabError(f"--optimizers {','.join(self.optimizers)}: each may be named once")

    @property
    def devices(self) -> tuple[str, ...]:
        """Of each worker."""
        return where.devices(self.workers)

    @property
    def computed(self) -> str:
        """How a trial computes, in words."""
        how = f"on {where.kind(self.devices)} in float32"
        if self.precision != "float32":
            how += f", passes in {self.precision} by torch.autocast{' and GradScaler' * (self.precision == 'fp16')}"
        return how + ", the model by torch.compile" * self.compile

    @property
    def work(self) -> Tier:
        """The tier, with what was asked for in its place; without a search half as many epochs again."""
        tier = TIERS[self.tier]
        if self.preset == "self-tuning":
            tier = replace(tier, share=LONGER * tier.share)
        seeds = self.seeds or tier.seeds
        return replace(tier, points=self.points or tier.points, seeds=seeds, defaults=min(seeds, tier.defaults))
