"""Optimizers on a surface, in lock-step, as a picture or a film."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as File

import numpy as np
import torch

from ravine.surfaces.entrants import Entrant
from ravine.surfaces.given import losses
from ravine.surfaces.ground import Ground
from ravine.surfaces.path import Path, Run, descend
from ravine.surfaces.rates import choose, random_starts, told, tuned
from ravine.surfaces.surface import Point, Surface
from ravine.visuals import ink
from ravine.visuals.film import gif, mp4
from ravine.visuals.trails import Trail, Trails

STILLS, FILMS = (".png", ".svg", ".pdf"), (".gif", ".mp4")
FRAMES, PER_SECOND = 75, 15


@dataclass(frozen=True, eq=False)
class Race:
    """Who ran where, at which rate, and their paths: of each entrant one from each start and with each seed.

    beside: the tuned rates, to be read beside those of a classic animation.
    """

    surface: Surface
    entrants: Sequence[Entrant]
    mode: str
    lrs: Sequence[float]
    starts: Sequence[Point]
    paths: Sequence[Sequence[Path]]
    beside: Sequence[float] = ()

    @property
    def steps(self) -> int:
        """How many each of them made."""
        return len(self.paths[0][0].losses) - 1

    @property
    def seeds(self) -> int:
        """How many runs there are of each from each start."""
        return len(self.paths[0]) // len(self.starts)

    def trails(self, deep: bool = False) -> Trails:
        """The picture."""
        ground = Ground(self.surface, self.seen())
        walked = [
            Trail(self.label(i), ink(i), path.shown, ground.height(path.shown_losses))
            for i, paths in enumerate(self.paths) for path in paths
        ]  # fmt: skip
        return Trails(ground.land, walked, self.surface.title(), self.note(), deep=deep, cloud=self.seeds > 1)

    def seen(self) -> list[Point]:
        """What must be in sight: the starts, each first step, and whatever a path comes back from into the view; of
        what does not diverge, and no farther than the view is wide beyond it."""
        low, high = np.array(self.surface.view).T
        found = [np.array(self.starts, dtype=np.float64)]
        for path in (path for paths in self.paths for path in paths if not path.diverged):
            inside = ((path.shown >= low) & (path.shown <= high)).all(1)
            way = path.shown[: max(1, len(inside) - 1 - int(inside[::-1].argmax()) if inside.any() else 0) + 1]
            found.append(way[((way >= 2 * low - high) & (way <= 2 * high - low)).all(1)])
        points = np.concatenate(found)
        return [(float(x), float(y)) for x, y in (points.min(0), points.max(0))]

    def label(self, i: int) -> str:
        """An entrant in the legend."""
        lost, many = sum(path.diverged for path in self.paths[i]), len(self.paths[i])
        name, *said = self.entrants[i].name.split(":")
        lines = [name, *said]
        if "lr" not in self.entrants[i].settings:
            lines.append(f"lr {self.lrs[i]:g}")
            lines += [f"tuned: {self.beside[i]:g}"] if self.beside else []
        if lost:
            lines.append(f"{lost} of {many} diverged" if many > 1 else "diverged")
        return "\n ".join(lines)

    def note(self) -> str:
        """What must be known to read the picture."""
        x, y = self.starts[0]
        where = f"from ({x:g}, {y:g})" if len(self.starts) == 1 else f"from {len(self.starts)} random starts"
        where += f", {self.seeds} seeds" if self.seeds > 1 else ""
        return "\n".join([f"{told(self.mode, self.entrants, self.lrs)} · {where}", *self.drawn()])

    def drawn(self) -> list[str]:
        """What the picture does not show."""
        return self.surface.drawn([x.name.split(":")[0] for x in self.entrants if x.optimizer.matrices])

    def table(self) -> str:
        """Who ended where: rate, the tuned one beside it, median of the last losses, and how many have diverged."""
        width = max(len("optimizer"), *(len(x.name) for x in self.entrants))
        loss = "median loss" if len(self.paths[0]) > 1 else "loss"
        beside = [f"{lr:<10g} " for lr in self.beside] or [""] * len(self.lrs)
        lines = [f"{'optimizer':{width}}  {'lr':<10} {'tuned      ' if self.beside else ''}{loss:<11} diverged"]
        for x, lr, other, paths in zip(self.entrants, self.lrs, beside, self.paths, strict=True):
            lost = sum(path.diverged for path in paths)
            last = float(np.median([np.inf if path.diverged else path.shown_losses[-1] for path in paths]))
            lines.append(f"{x.name:{width}}  {lr:<10g} {other}{last:<11.4g} {lost} of {len(paths)}")
        return "\n".join([*lines, *self.drawn()])

    def write(self, file: File, deep: bool = False) -> None:
        """A still or a film, as the name of the file says."""
        trails = self.trails(deep)
        if file.suffix in STILLS:
            trails.still(self.steps).savefig(file, dpi=160)
            return
        steps = sorted({round(t) for t in np.linspace(0, self.steps, FRAMES)})
        if file.suffix == ".gif":
            gif(trails.frames(steps), file, PER_SECOND, sorted({x.ink.colour for x in trails.trails}))
        else:
            mp4(trails.frames([*steps, *[self.steps] * 2 * PER_SECOND]), file, PER_SECOND)


def race(
    surface: Surface,
    entrants: Sequence[Entrant],
    steps: int,
    mode: str = "tuned",
    starts: Sequence[Point] | int = (),
    seeds: Sequence[int] = (0,),
) -> Race:
    """Let them run.

    mode: how rates are chosen (`rates.choose`).
    starts: points, or how many random ones; none: the surface's own.
    seeds: of the surface's chance, each a run more from every start.
    """
    if isinstance(starts, int):
        starts = random_starts(surface, starts, seed=1)  # others than those that rates are tuned on
    starts = starts or (surface.start,)
    for x, y in starts:
        if not math.isfinite(loss := float(losses(surface, *torch.tensor((x, y), dtype=torch.float64)))):
            raise ValueError(f"the loss at ({x:g}, {y:g}) is {loss:g}: nothing can start there")
    lrs = choose(surface, entrants, mode, steps)
    runs = [
        Run(x.optimizer, {**x.settings, "lr": lr}, start, seed)
        for x, lr in zip(entrants, lrs, strict=True) for start in starts for seed in seeds
    ]  # fmt: skip
    paths, each = descend(surface, runs, steps, shown=True), len(starts) * len(seeds)
    beside = tuned(surface, entrants, steps) if mode == "classic" else ()
    return Race(surface, entrants, mode, lrs, starts, [paths[i : i + each] for i in range(0, len(runs), each)], beside)
