"""Maps that are computed when they are asked for: what every learning rate does, and where every start leads to."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.surfaces.maps import arrivals
from ravine.surfaces.path import Run, descend
from ravine.surfaces.play import asked
from ravine.surfaces.play.answers import widened

RATES = tuple(float(f"{10 ** (-5 + i / 8):.3g}") for i in range(49))  # eight to a decade, from 1e-5 to 10
NEAR = 0.02  # of the view: so close to a minimum, a run has arrived
DIVERGED = -2  # in place of a minimum; −1 is elsewhere


def rates(race: asked.Race) -> NDArray[np.float64]:
    """The loss at every step for every rate of `RATES`, with the first racer's other settings: [rates, steps + 1]."""
    (racer,) = race.racers
    runs = [Run(racer.maker, {**racer.settings, "lr": lr}, race.start, race.seed) for lr in RATES]
    return np.stack([path.losses for path in descend(race.surface, runs, race.steps)])


def basins(race: asked.Race, view: asked.View, aspect: float) -> tuple[asked.View, dict[str, NDArray[Any]]]:
    """Where the first racer arrives from starts all over the view, row by row from below.

    "ends": the place in `surface.minima`, −1 elsewhere, −2 diverged; "steps": after how many it was there to stay.
    """
    (racer,) = race.racers
    (x0, x1), (y0, y1) = seen = widened(view, aspect)
    rows = max(4, min(72, int(math.sqrt(asked.bearable(racer) / race.steps / aspect))))
    columns = max(4, min(96, int(rows * aspect)))
    starts = [
        (x0 + (x1 - x0) * (c + 0.5) / columns, y0 + (y1 - y0) * (r + 0.5) / rows)
        for r in range(rows)
        for c in range(columns)
    ]
    paths = descend(race.surface, [Run(racer.maker, racer.settings, start, race.seed) for start in starts], race.steps)
    ends, steps = arrivals([path.points for path in paths], race.surface.minima, NEAR * (x1 - x0))
    ends[[path.diverged for path in paths]] = DIVERGED
    return seen, {"ends": ends.reshape(rows, columns), "steps": steps.reshape(rows, columns)}
