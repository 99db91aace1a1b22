"""What the page is told: what there is to choose, heights, and paths; as JSON, and numbers behind a JSON head."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.surfaces import rates
from ravine.surfaces.entrants import Entrant
from ravine.surfaces.find import BY_NAME
from ravine.surfaces.path import Path, descend
from ravine.surfaces.play import asked
from ravine.surfaces.play.controls import control, controls, meaning
from ravine.surfaces.surface import Surface
from ravine.visuals import ink

Arrays = Mapping[str, NDArray[Any]]
Watch = Callable[[float], object]  # is told which part is done; what it raises ends the work
REMEMBERED = 512  # tuned rates


def choices() -> dict[str, Any]:
    """Every surface and optimizer, with what can be moved of each; colours; and how much may be asked."""
    inks = [ink(i) for i in range(2 * asked.RUNS)]
    return {
        "surfaces": [surface(cls) for cls in BY_NAME.values()],
        "optimizers": [
            {
                "name": name,
                "label": cls.__name__,
                "about": meaning(cls),
                "controls": [c.json() for c in controls(cls)],
                "matrices": cls.matrices,
            }
            for name, cls in asked.OPTIMIZERS.items()
        ],
        "strategies": asked.STRATEGIES,
        "inks": [{"colour": i.colour, "dash": i.dash, "marker": i.marker} for i in inks],
        "limits": {"runs": asked.RUNS, "steps": asked.STEPS, "work": asked.WORK},
        "starts": rates.STARTS,
    }


def surface(cls: type[Surface]) -> dict[str, Any]:
    """What the page says of a surface before it has seen it."""
    hints = get_type_hints(cls)
    return {
        "name": cls.name,
        "about": meaning(cls),
        "start": cls.start,
        "plain": plain(cls),
        "controls": [
            control(f.name, None, hints[f.name], f.default, cls.ranges.get(f.name, "(0, inf)")).json()
            for f in fields(cls)  # pyright: ignore[reportArgumentType]
        ],
    }


def plain(cls: type[Surface]) -> bool:
    """True if a path is that of two numbers down `loss`, without chance or bounds."""
    special = ("begin", "seen", "chance", "objective", "project")
    return all(getattr(cls, name) is getattr(Surface, name) for name in special)


def ground(surface: Surface, view: asked.View, aspect: float, columns: int) -> bytes:
    """Heights over a view, and what is known of the surface."""
    seen, z = heights(surface, view, aspect, columns)
    head = {"view": seen, "log": surface.log, "start": surface.start, "minima": surface.minima,
            "saddles": surface.saddles, "floor": lowest(surface, z), "shape": surface.shape}  # fmt: skip
    return packed(head, {"heights": z})


def heights(surface: Surface, view: asked.View, aspect: float, columns: int) -> tuple[asked.View, NDArray[np.float64]]:
    """The loss over a view that is widened to `aspect`, so that a unit is as long across as up; rows from below."""
    (x0, x1), (y0, y1) = seen = widened(view, aspect)
    rows = max(2, round((columns - 1) / aspect) + 1)
    across, up = (torch.linspace(a, b, n, dtype=torch.float64) for a, b, n in ((x0, x1, columns), (y0, y1, rows)))
    with torch.no_grad():
        return seen, surface.loss(across.expand(rows, columns), up[:, None].expand(rows, columns)).numpy()


def lowest(surface: Surface, heights: NDArray[np.float64]) -> float:
    """The smallest loss that is known: of the minima, or of what is seen."""
    known = [surface.loss(*torch.tensor(p, dtype=torch.float64)).item() for p in surface.minima]
    return min([*known, *heights[np.isfinite(heights)].tolist()], default=0.0)


def widened(view: asked.View, aspect: float) -> asked.View:
    """The view with its shorter side made longer until width / height is `aspect`, around the same middle."""
    (x0, x1), (y0, y1) = view
    width, height = x1 - x0, y1 - y0
    across, up = max(0.0, height * aspect - width) / 2, max(0.0, width / aspect - height) / 2
    return (x0 - across, x1 + across), (y0 - up, y1 + up)


def race(race: asked.Race, momentum: bool, watch: Watch | None = None) -> bytes:
    """The paths of all, as they are in memory: nothing is rounded on the way."""
    paths = descend(race.surface, race.runs(), race.steps, momentum=momentum, watch=watch)
    return packed({}, stacked(paths))


def stacked(paths: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """An array of each kind, a path after the other; momentum is NaN where an optimizer keeps none."""
    out = {name: np.stack([getattr(path, name) for path in paths])
           for name in ("points", "losses", "gradients", "evaluations")}  # fmt: skip
    if any(path.momentum is not None for path in paths):
        nothing = np.full_like(paths[0].points, np.nan)
        out["momentum"] = np.stack([nothing if path.momentum is None else path.momentum for path in paths])
    return out


def packed(head: Mapping[str, Any], arrays: Arrays) -> bytes:
    """The length of the head, the head with the arrays' shapes, and their float64 one after another."""
    text = json.dumps({**head, "arrays": {name: x.shape for name, x in arrays.items()}}, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)  # where numbers begin
    return b"".join([len(text).to_bytes(8, "little"), text,
                     *(np.ascontiguousarray(x, dtype="<f8").tobytes() for x in arrays.values())])  # fmt: skip


def tunable(racer: asked.Racer) -> int:
    """Over how many steps its rate may be tuned: what takes minutes is not waited for."""
    return 10 * asked.bearable(replace(racer, strategy="none")) // (len(rates.GRID) * rates.STARTS)


def tuned(surface: Surface, racer: asked.Racer, steps: int, watch: Watch | None = None) -> float:
    """Its best rate on this surface, or that of what a strategy drives; asked again, it is remembered."""
    key = surface, racer.name, tuple(sorted(racer.settings.items())), steps
    if key not in _found:
        (rate,) = rates.tuned(
            surface, [Entrant(racer.name, asked.OPTIMIZERS[racer.name], racer.settings)], steps, watch=watch
        )
        if len(_found) >= REMEMBERED:
            _found.pop(next(iter(_found)))
        _found[key] = rate
    return _found[key]


_found: dict[Any, float] = {}
