"""Maps that are computed when they are asked for: what every learning rate does, and where every start leads to."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.optimizer import Optimizer
from ravine.surfaces.crew import by_rows, program
from ravine.surfaces.path import Path, Run, descend
from ravine.surfaces.play import asked
from ravine.surfaces.play.answers import widened
from ravine.surfaces.surface import Point

RATES = tuple(float(f"{10 ** (-5 + i / 8):.3g}") for i in range(49))  # eight to a decade, from 1e-5 to 10
TOGETHER, ALONE = 800_000, 60_000  # steps of all starts: where they are rows of one tensor, and where they are not
NEAR = 0.02  # of the view: so close to a minimum, a run has arrived
ELSEWHERE, DIVERGED = -1, -2


def rates(race: asked.Race) -> NDArray[np.float64]:
    """The loss at every step for every rate of `RATES`, with the first racer's other settings: [rates, steps + 1]."""
    (racer,) = race.racers
    runs = [Run(racer.maker, {**racer.settings, "lr": lr}, race.start, race.seed) for lr in RATES]
    return np.stack([path.losses for path in descend(race.surface, runs, race.steps)])


def basins(race: asked.Race, view: asked.View, aspect: float) -> tuple[asked.View, dict[str, NDArray[np.float64]]]:
    """Where the first racer arrives from starts all over the view, row by row from below.

    "ends": the place in `surface.minima`, or ELSEWHERE, or DIVERGED; "steps": after how many it was there to stay.
    """
    (racer,) = race.racers
    (x0, x1), (y0, y1) = seen = widened(view, aspect)
    one = racer.maker([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))], **racer.settings)
    together = isinstance(one, Optimizer) and by_rows(program(one))
    most = (TOGETHER if together else ALONE if isinstance(one, Optimizer) else ALONE / 4) / race.steps
    rows = max(4, min(72, int(math.sqrt(most / aspect))))
    columns = max(4, min(96, int(rows * aspect)))
    starts = [
        (x0 + (x1 - x0) * (c + 0.5) / columns, y0 + (y1 - y0) * (r + 0.5) / rows)
        for r in range(rows)
        for c in range(columns)
    ]
    paths = descend(race.surface, [Run(racer.maker, racer.settings, start, race.seed) for start in starts], race.steps)
    found = [arrival(path, race.surface.minima, NEAR * (x1 - x0)) for path in paths]
    ends, steps = (np.array(x, dtype=float).reshape(rows, columns) for x in zip(*found, strict=True))
    return seen, {"ends": ends, "steps": steps}


def arrival(path: Path, minima: Sequence[Point], near: float) -> tuple[int, int]:
    """Which minimum a path ends at, and the step from which on it stays there."""
    if path.diverged:
        return DIVERGED, len(path.losses) - 1
    for i, minimum in enumerate(minima):
        away = np.flatnonzero(np.hypot(*(path.points - minimum).T) > near)
        if not len(away) or away[-1] < len(path.losses) - 1:
            return i, int(away[-1]) + 1 if len(away) else 0
    return ELSEWHERE, len(path.losses) - 1
