"""Runs down a surface in lock-step: one gradient for all of them, then a step of each optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.surfaces.crew import Crew, crews
from ravine.surfaces.lane import Lane
from ravine.surfaces.surface import Point, Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One optimizer with its settings, from one point; the seed is that of the surface's own chance.

    optimizer: a class of ravine's or torch's, or whatever else makes an optimizer of parameters and settings, such as
        `lambda params, **settings: SAM(ravine.SGD(params, **settings))`.
    """

    optimizer: Callable[..., torch.optim.Optimizer]
    settings: Mapping[str, Any]
    start: Point
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Path:
    """What became of a run. Row t of each array is after t steps; row 0 is the start."""

    points: Array  # [steps + 1, 2]
    losses: Array  # [steps + 1]
    gradients: Array  # [steps + 1, 2]: of what a step from there differentiates
    evaluations: Array  # [steps + 1]: gradients that the optimizer has asked for on the way
    shown: Array  # [steps + 1, 2]: the weights to evaluate, as `opt.eval()` shows them; often they are the points
    shown_losses: Array  # [steps + 1]
    momentum: Array | None = None  # [steps + 1, 2]: the average of gradients that it keeps; where asked, and if it does

    @property
    def diverged(self) -> bool:
        """True if a point or a loss is not finite, or the loss has grown a million times."""
        whole = np.isfinite(self.points).all() and np.isfinite(self.losses).all()
        return not whole or bool(self.losses[-1] > 1e6 * (1 + abs(self.losses[0])))


def descend(
    surface: Surface,
    runs: Sequence[Run],
    steps: int,
    *,
    momentum: bool = False,
    shown: bool = False,
    watch: Callable[[float], object] | None = None,
) -> list[Path]:
    """The paths of all runs, each as a training loop by hand would make it, bit for bit.

        >>> import ravine
        >>> from ravine.surfaces import Run, descend, find
        >>> beale = find("beale")
        >>> (path,) = descend(beale, [Run(ravine.Adam, {"lr": 0.1}, beale.start)], steps=300)
        >>> path.points.shape
        (301, 2)

    Runs of one optimizer are parameters of one, with a group for each of their settings: rows of one tensor where the
    compiled plan says that an element's step looks at nothing else, tensors of their own where it looks at its tensor
    alone. Else each run has its own optimizer.

    momentum: keep what each optimizer has averaged, too.
    shown: keep the weights to evaluate, too, where a rule has others: NAG's p, while the points are where it looks
        ahead; the averages of Schedule-Free. Else they are the points.
    watch: is called before each step with the part of all steps that is done; what it raises ends the descent.
    """
    if steps < 1:
        raise ValueError(f"descend: steps is {steps!r}; it must be at least 1")
    kinds: dict[Any, dict[Any, list[int]]] = {}  # optimizer -> settings -> places in `runs`
    for i, run in enumerate(runs):
        kinds.setdefault(run.optimizer, {}).setdefault(alike(run.settings), []).append(i)
    order = [i for kind in kinds.values() for alike in kind.values() for i in alike]
    starts = torch.tensor([runs[i].start for i in order], dtype=torch.float64).reshape(-1, 2)
    lane = Lane(surface, starts, chances(surface, [runs[i].seed for i in order], steps + 1))
    every, row = list[Crew](), 0
    for optimizer, kind in kinds.items():
        every += crews(optimizer, [(runs[places[0]].settings, len(places)) for places in kind.values()], lane, row)
        row += sum(map(len, kind.values()))

    points, gradients = (torch.zeros(steps + 1, *lane.now.shape, dtype=torch.float64) for _ in range(2))
    averages = torch.full_like(points, torch.nan) if momentum else None  # where an optimizer keeps none
    other = torch.full_like(points, torch.nan) if shown else None
    losses, asked = torch.zeros(steps + 1, len(runs), dtype=torch.float64), [[0] * len(every)]
    with np.errstate(all="ignore"):  # what diverges may overflow
        for t in range(steps):
            if watch is not None:
                watch(t / steps)
            lane.look(t)
            lane.note(points[t], gradients[t], losses[t])
            for crew in every:
                crew.step()
            lane.project()
            asked.append([crew.asked for crew in every])
            for crew in every:
                if averages is not None:
                    crew.note_momentum(averages[t + 1])
                if other is not None:
                    crew.note_shown(other[t + 1])
        lane.look(steps)
        lane.note(points[-1], gradients[-1], losses[-1])

    evaluations = np.array(asked).repeat([crew.rows.stop - crew.rows.start for crew in every], axis=1)
    seen, down = surface.seen(points).numpy(), surface.seen(gradients).numpy()
    eyes, heights = (seen, losses) if other is None else evaluated(surface, points, other)
    kept = None
    if averages is not None:
        averages[0] = torch.where(averages[1].isnan(), torch.nan, 0.0)  # it begins at 0
        kept = surface.seen(averages).numpy()
    paths: dict[int, Path] = {}
    for row, i in enumerate(order):
        average = None if kept is None or np.isnan(kept[1, row]).all() else kept[:, row]
        paths[i] = Path(
            seen[:, row], losses[:, row].numpy(), down[:, row], evaluations[:, row],
            eyes[:, row], heights[:, row].numpy(), average,
        )  # fmt: skip
    return [paths[i] for i in range(len(runs))]


def alike(settings: Mapping[str, Any]) -> Any:
    """A key that equal settings share; what cannot be compared is equal to itself alone."""

    def known(x: Any) -> Any:
        try:
            hash(x)
        except TypeError:
            return id(x)
        return x

    return frozenset((name, type(x), known(x)) for name, x in settings.items())


def evaluated(surface: Surface, points: Tensor, other: Tensor) -> tuple[Array, Tensor]:
    """The points and losses of the weights to evaluate: those of training where a row has no others."""
    same = other[1].flatten(1).isnan().all(1)
    other[0], other[:, same] = points[0], points[:, same]
    with torch.no_grad():
        heights = [surface.objective(x, torch.tensor(0)) for x in other]  # its value is the true loss at any step
    return surface.seen(other).numpy(), torch.stack(heights)


def chances(surface: Surface, seeds: Sequence[int], steps: int) -> Tensor | None:
    """What chance does in each run at each step: (steps, runs, …); runs of one seed meet the same."""
    drawn = {seed: surface.chance(steps, torch.Generator().manual_seed(seed)) for seed in dict.fromkeys(seeds)}
    found = [x for seed in seeds if (x := drawn[seed]) is not None]
    return torch.stack(found, 1) if found else None
