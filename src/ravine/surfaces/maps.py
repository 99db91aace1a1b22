"""What many runs say: the loss over rate and step, over rate and momentum, and which minimum is reached from where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.rule.hyper import fields
from ravine.surfaces.entrants import Entrant
from ravine.surfaces.ground import Ground
from ravine.surfaces.path import Array, Run, descend
from ravine.surfaces.rates import GRID, STARTS, choose, random_starts, told, within
from ravine.surfaces.surface import Point, Surface
from ravine.visuals.tiles import Basin, Heat, heats
from ravine.visuals.tiles import basins as basin_tiles

MOMENTA = (0.0, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995)
COARSE = GRID[::2]
FINE = 96  # starts along x, and along y, of a map of basins


def medians(surface: Surface, entrant: Entrant, settings: Sequence[dict[str, Any]], steps: int) -> Array:
    """The median loss over 16 random starts, (settings, steps + 1); infinite where most have diverged."""
    starts = random_starts(surface, STARTS)
    runs = [
        Run(entrant.optimizer, {**entrant.settings, **said}, start, seed)
        for said in settings for seed, start in enumerate(starts)
    ]  # fmt: skip
    losses = np.array([within(surface, path) for path in descend(surface, runs, steps, shown=True)])
    losses[~np.isfinite(losses)] = np.inf
    return np.median(losses.reshape(len(settings), STARTS, -1), axis=1)


def rates(surface: Surface, racing: Sequence[Entrant], steps: int, mode: str, file: File) -> str:
    """The loss over rate and step."""
    ground, tiles, best = Ground(surface), list[Heat](), list[str]()
    for x in racing:
        found = medians(surface, x, [{"lr": lr} for lr in GRID], steps)
        lr = GRID[int(found[:, -1].argmin())]
        lines = {"the best": lr, "the default": float(x.optimizer.lr)}
        tiles.append(Heat(x.name, np.arange(steps + 2.0) - 0.5, edges(GRID), height(ground, found), lines))
        best.append(f"{x.name:24} {lr:<10g} {found[:, -1].min():.4g}")
    note = f"median over {STARTS} random starts; white: most have diverged"
    sheet = heats(
        tiles, f"{surface.title()}: loss over rate and step", note, ("step", "lr"), ground.land.title, (False, True)
    )
    sheet.savefig(file, dpi=160)
    return "\n".join([f"{'optimizer':24} {'best lr':10} loss after {steps} steps", *best])


def momentum(surface: Surface, racing: Sequence[Entrant], steps: int, mode: str, file: File) -> str:
    """The last loss over rate and momentum, for those that have one."""
    ground, tiles, best = Ground(surface), list[Heat](), list[str]()
    for x in (x for x in racing if memory(x, 0.0) is not None):
        cells = [(lr, m) for lr in COARSE for m in MOMENTA]
        found = medians(surface, x, [{"lr": lr, **(memory(x, m) or {})} for lr, m in cells], steps)[:, -1]
        lr, m = cells[int(found.argmin())]
        x_edges = np.arange(len(MOMENTA) + 1.0) - 0.5
        z = height(ground, found.reshape(len(COARSE), len(MOMENTA)))
        tiles.append(Heat(x.name, x_edges, edges(COARSE), z, {}, divmod(int(found.argmin()), len(MOMENTA))))
        best.append(f"{x.name:24} {lr:<10g} {m:<10g} {found.min():.4g}")
    if not tiles:
        raise ValueError("none of these has momentum or betas; try --optimizers sgd,momentum,nag,adam")
    note = f"after {steps} steps, median over {STARTS} random starts; white: most have diverged"
    sheet = heats(tiles, f"{surface.title()}: loss over rate and momentum", note, ("momentum, or β₁", "lr"),
                  ground.land.title, (False, True))  # fmt: skip
    for box in sheet.axes[: len(tiles)]:
        box.set_xticks(range(len(MOMENTA)), [f"{m:g}".lstrip("0") or "0" for m in MOMENTA], rotation=60)
    sheet.savefig(file, dpi=160)
    return "\n".join([f"{'optimizer':24} {'best lr':10} {'momentum':10} loss after {steps} steps", *best])


def memory(entrant: Entrant, m: float) -> dict[str, Any] | None:
    """The setting that is momentum: of its own name, or the first of two betas."""
    known = fields(entrant.optimizer)
    if "momentum" in known:
        return {"momentum": m}
    betas = entrant.settings.get("betas", known["betas"][1] if "betas" in known else None)
    return {"betas": (m, *betas[1:])} if betas else None


def basins(surface: Surface, racing: Sequence[Entrant], steps: int, mode: str, file: File) -> str:
    """Which minimum is reached from each of 96 × 96 starts, and how soon."""
    if not surface.minima:
        raise ValueError(f"{surface.title()} has no minimum to be reached; try himmelblau, camel or styblinski-tang")
    lrs, tiles, said = choose(surface, racing, mode, steps), list[Basin](), list[str]()
    for x, lr in zip(racing, lrs, strict=True):
        goal, soon = reached(surface, Run(x.optimizer, {**x.settings, "lr": lr}, surface.start), steps, FINE)
        part = float((goal >= 0).mean())
        tiles.append(Basin(f"{x.name}, lr {lr:g}: {part:.0%}", goal, soon))
        each = [float((goal == k).mean()) for k in range(len(surface.minima))]
        said.append(f"{x.name:24} {lr:<10g} {part:>7.1%} {(goal == -2).mean():>9.1%}   "
                    + " ".join(f"{v:6.1%}" for v in each[:8]))  # fmt: skip
    how = f"the colour of the minimum reached within {steps} steps, paler the later; how many arrive"
    heading, note = f"{surface.title()}: basins of attraction", f"{told(mode, racing, lrs)} · {how}"
    basin_tiles(tiles, surface.view, surface.minima, heading, note).savefig(file, dpi=160)
    first = " ".join(f"({x:.3g}, {y:.3g})" for x, y in surface.minima[:8])
    return "\n".join([f"{'optimizer':24} {'lr':10} {'arrive':>7} {'diverge':>9}   of these at {first}", *said])


def reached(surface: Surface, run: Run, steps: int, fine: int) -> tuple[NDArray[np.int64], Array]:
    """From a grid of starts: which minimum the run ends near, −1 none, −2 diverged; and after what part of its steps.

    Near is within 2% of the view's diagonal; it has arrived when it does not go farther again.
    """
    (x0, x1), (y0, y1) = surface.view
    starts: list[Point] = [
        (x, y) for y in np.linspace(y0, y1, fine).tolist() for x in np.linspace(x0, x1, fine).tolist()
    ]
    paths = descend(surface, [Run(run.optimizer, run.settings, at, run.seed) for at in starts], steps, shown=True)
    near = 0.02 * float(np.hypot(x1 - x0, y1 - y0))
    goal, step = arrivals([path.shown for path in paths], surface.minima, near)
    goal[[path.diverged for path in paths]] = -2
    return goal.reshape(fine, fine), (step / steps).reshape(fine, fine)


def arrivals(points: Sequence[Array], minima: Sequence[Point], near: float) -> tuple[NDArray[np.int64], Array]:
    """The minimum that each path ends near, −1 where there is none; and the step from which on it stays there."""
    walked, goals = np.stack(points), np.array(minima)  # (paths, steps + 1, 2), (goals, 2)
    with np.errstate(all="ignore"):
        last = np.linalg.norm(walked[:, -1, None] - goals, axis=2)  # (paths, goals)
        goal = np.where(last.min(1) <= near, last.argmin(1), -1)
        away = ~(np.linalg.norm(walked - goals[goal][:, None], axis=2) <= near)  # (paths, steps + 1)
    left = np.where(away.any(1), away.shape[1] - away[:, ::-1].argmax(1), 0)
    return goal, left.clip(0, away.shape[1] - 1)


def height(ground: Ground, losses: Array) -> Array:
    """Losses in the units of the picture, far lower than a landscape needs them; nan where there are none."""
    return np.where(np.isfinite(losses), ground.height(losses, least=1e-20), np.nan)


def edges(values: Sequence[float]) -> Array:
    """Between values at equal ratios."""
    at = np.log10(values)
    half = (at[1] - at[0]) / 2
    return 10 ** np.append(at - half, at[-1] + half)
