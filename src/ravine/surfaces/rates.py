"""How each optimizer's rate is chosen: the same for all, its own default, or tuned on this surface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.optim import SGD
from ravine.surfaces.classic import CLASSIC
from ravine.surfaces.entrants import Entrant
from ravine.surfaces.given import losses as losses_at
from ravine.surfaces.ground import Ground
from ravine.surfaces.path import Array, Path, Run, descend
from ravine.surfaces.surface import Point, Surface

MODES = ("same", "default", "tuned", "classic")
GRID = tuple(float(f"{10 ** (k / 4):.3g}") for k in range(-20, 9))  # 1e-5 to 100, four to a decade
STARTS = 16


def choose(surface: Surface, racing: Sequence[Entrant], mode: str, steps: int) -> list[float]:
    """The rate of each entrant; one that is among its settings goes before all.

    mode: "default": each optimizer's own. "tuned": the one of `GRID` that does best from 16 seeded random starts in
        as many steps as are shown (`tuned`). "same": for all what is tuned so for plain gradient descent. A number, as
        text: that for all. "classic": those of the two classic animations, on their surfaces.
    """
    if mode == "classic":
        chosen = classic(surface, racing)
    elif mode == "default":
        chosen = [float(x.optimizer.lr) for x in racing]
    elif mode == "tuned":
        chosen = tuned(surface, racing, steps)
    elif mode == "same":
        chosen = tuned(surface, [Entrant("sgd", SGD, {})], steps) * len(racing)
    else:
        try:
            if not 0 < float(mode) < np.inf:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"the rate is {mode!r}; it must be a number above 0 or one of {', '.join(MODES)}"
            ) from None
        chosen = [float(mode)] * len(racing)
    return [float(x.settings.get("lr", lr)) for x, lr in zip(racing, chosen, strict=True)]


def classic(surface: Surface, racing: Sequence[Entrant]) -> list[float]:
    """The rates of the classic animation; ValueError says which optimizers have one."""
    if surface.name not in CLASSIC:
        raise ValueError(f"{surface.title()} has no classic animation; {' and '.join(CLASSIC)} have")
    known = CLASSIC[surface.name].rates
    if strange := [x.name for x in racing if "lr" not in x.settings and x.name not in known]:
        raise ValueError(
            f"the classic animation has {', '.join(known)}; give {strange[0]} a rate, as in {strange[0]}:lr=0.1"
        )
    return [known.get(x.name, 0.0) for x in racing]


def told(mode: str, racing: Sequence[Entrant], lrs: Sequence[float]) -> str:
    """How the rates of those that have none of their own were chosen, in words for the picture."""
    chosen = [lr for x, lr in zip(racing, lrs, strict=True) if "lr" not in x.settings]
    if not chosen:
        return "lr: each as it was given"
    if mode == "default":
        return "lr: each optimizer's default"
    if mode == "tuned":
        return "lr: tuned for each on this surface"
    if mode == "classic":
        return "lr: those of the classic animation, under each the one tuned here"
    return f"lr: the same for all, {chosen[0]:g}" + (", tuned for gradient descent" if mode == "same" else "")


def tuned(
    surface: Surface,
    racing: Sequence[Entrant],
    steps: int,
    grid: Sequence[float] = GRID,
    watch: Callable[[float], object] | None = None,
) -> list[float]:
    """The rate of the grid, for each entrant, that is lowest in the mean over 16 random starts (`heights`).

    Where several are as low as a picture can show, the one that is so soonest: the lowest mean along the paths.

    watch: as for `descend`.
    """
    ground, starts = Ground(surface), random_starts(surface, STARTS)
    runs = [
        Run(x.optimizer, {**x.settings, "lr": lr}, start, seed)
        for x in racing for lr in grid for seed, start in enumerate(starts)
    ]  # fmt: skip
    paths = descend(surface, runs, steps, shown=True, watch=watch)
    walked = np.array([heights(ground, surface, path) for path in paths])
    mean = walked.reshape(len(racing), len(grid), STARTS, -1).mean(2)
    return [grid[min(range(len(grid)), key=lambda k: (round(x[k, -1], 6), x[k].mean()))] for x in mean]


def random_starts(surface: Surface, count: int, seed: int = 0) -> list[Point]:
    """So many points of the view, each as likely as another."""
    chance = torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    (x0, x1), (y0, y1) = surface.view
    return [(x0 + (x1 - x0) * x, y0 + (y1 - y0) * y) for x, y in chance.tolist()]


def heights(ground: Ground, surface: Surface, path: Path) -> Array:
    """The losses of a path in the units of the picture, none higher than the highest point of the view.

    Out of the view the loss of the nearest point in it counts, for on a saddle the loss falls for ever, and who is
    thrown out farthest would be the best. What diverges is as high as can be.
    """
    top = float(np.nanmax(ground.land.z))
    return np.minimum(np.nan_to_num(ground.height(within(surface, path)), nan=top, posinf=top), top)


def within(surface: Surface, path: Path) -> Array:
    """The losses of a path; out of the view those of the nearest points in it, and none where it is not finite."""
    (x0, x1), (y0, y1) = surface.view
    x, y = path.shown.T
    nearest = torch.from_numpy(np.stack([x.clip(x0, x1), y.clip(y0, y1)]))
    inside: NDArray[Any] = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    losses = np.where(inside, path.shown_losses, losses_at(surface, *nearest).detach().numpy())
    return np.full_like(losses, np.inf) if path.diverged else losses
