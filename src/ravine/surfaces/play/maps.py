"""Maps that are computed when they are asked for: what every learning rate does, and where every start leads to."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.surfaces.maps import arrivals
from ravine.surfaces.path import Run, descend
from ravine.surfaces.play import asked
from ravine.surfaces.play.answers import Watch, widened

RATES = tuple(float(f"{10 ** (-5 + i / 8):.3g}") for i in range(49))  # eight to a decade, from 1e-5 to 10
FEWER = (1, 2, 3, 4, 6, 8)  # every so many of them, so that both ends remain
LEAST = 4  # starts of a map of basins along its shorter side
NEAR = 0.02  # of the view: so close to a minimum, a run has arrived
DIVERGED = -2  # in place of a minimum; −1 is elsewhere


def rates(race: asked.Race, watch: Watch | None = None) -> tuple[tuple[float, ...], NDArray[np.float64]]:
    """The loss at every step for the rates of `RATES`, with the first racer's other settings: [rates, steps + 1].

    There are fewer rates where a method must run alone; Refused where even the fewest would take minutes.
    """
    (racer,) = race.racers
    bearable = asked.bearable(racer)
    each = next((RATES[::k] for k in FEWER if len(RATES[::k]) * race.steps <= bearable), None)
    if each is None:
        raise too_long(race, bearable // len(RATES[:: FEWER[-1]]))
    runs = [Run(racer.maker, {**racer.settings, "lr": lr}, race.start, race.seed) for lr in each]
    return each, np.stack([path.losses for path in descend(race.surface, runs, race.steps, watch=watch)])


def too_long(race: asked.Race, most: int) -> asked.Refused:
    """What is said where a map would take minutes."""
    (racer,) = race.racers
    name = racer.name if racer.strategy == "none" else f"{racer.strategy} of {racer.name}"
    return asked.Refused(f"{name} runs alone: over {race.steps} steps this map takes minutes; take at most {most}")


def basins(
    race: asked.Race, view: asked.View, aspect: float, watch: Watch | None = None
) -> tuple[asked.View, dict[str, NDArray[Any]]]:
    """Where the first racer arrives from starts all over the view, row by row from below.

    "ends": the place in `surface.minima`, −1 elsewhere, −2 diverged; "steps": after how many it was there to stay.
    Refused where even a coarse map would take minutes.
    """
    (racer,) = race.racers
    (x0, x1), (y0, y1) = seen = widened(view, aspect)
    bearable = asked.bearable(racer)
    least = max(LEAST, round(LEAST / aspect)), max(LEAST, round(LEAST * aspect))
    if least[0] * least[1] * race.steps > bearable:
        raise too_long(race, bearable // (least[0] * least[1]))
    rows = max(least[0], min(72, int(math.sqrt(bearable / race.steps / aspect))))
    columns = max(least[1], min(96, int(rows * aspect)))
    starts = [
        (x0 + (x1 - x0) * (c + 0.5) / columns, y0 + (y1 - y0) * (r + 0.5) / rows)
        for r in range(rows)
        for c in range(columns)
    ]
    paths = descend(
        race.surface, [Run(racer.maker, racer.settings, start, race.seed) for start in starts], race.steps, watch=watch
    )
    ends, steps = arrivals([path.points for path in paths], race.surface.minima, NEAR * (x1 - x0))
    ends[[path.diverged for path in paths]] = DIVERGED
    return seen, {"ends": ends.reshape(rows, columns), "steps": steps.reshape(rows, columns)}
