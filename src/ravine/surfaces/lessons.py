"""The pictures of textbooks, computed: what Momentum does in a ravine, AdaGrad's way, and where NAG looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as File

import numpy as np

from ravine.optim import SGD, Adagrad, Momentum
from ravine.surfaces.find import find
from ravine.surfaces.ground import Ground
from ravine.surfaces.known.ravine import Ravine
from ravine.surfaces.path import Array, Path, Run, descend
from ravine.visuals import ink
from ravine.visuals.panels import Arrow, Panel, panels
from ravine.visuals.trails import Trail

RAVINE, RAVINE_STEPS = Ravine(condition=40.0, angle=20.0), 40
LONG = find("bowl")
SLOPE = find("bowl", long=0.5, steep=2.5)


def across(surface: Ravine, path: Path) -> int:
    """How often a path changes from one side of the ravine to the other."""
    angle = np.radians(surface.angle)
    v = path.shown @ np.array([-np.sin(angle), np.cos(angle)])
    return int((np.diff(np.sign(v[v != 0])) != 0).sum())


def ravine() -> list[tuple[str, Path, int]]:
    """Gradient descent, with a larger rate, and Momentum in a ravine: what each is, its path, its sign changes across.

    Gradient descent is stable below lr = 2 / κ, and Momentum below (2 + 2γ) / κ.
    """
    told = {
        "gradient descent, lr 0.01": Run(SGD, {"lr": 0.01}, (-1.95, 0.05)),
        "larger lr, 0.048": Run(SGD, {"lr": 0.048}, (-1.95, 0.05)),
        "Momentum, γ = 0.8, lr 0.01": Run(Momentum, {"lr": 0.01, "momentum": 0.8}, (-1.95, 0.05)),
    }
    paths = descend(RAVINE, list(told.values()), RAVINE_STEPS)
    return [(text, path, across(RAVINE, path)) for text, path in zip(told, paths, strict=True)]


def draw_ravine(file: File) -> str:
    """Three ways through it."""
    land, found = Ground(RAVINE).land, ravine()
    drawn = [
        Panel(f"{text}: {changes} changes of side", land, [Trail(text, ink(i), path.points, path.losses)])
        for i, (text, path, changes) in enumerate(found)
    ]
    note = f"{RAVINE_STEPS} steps on ½ (u² + 40 v²), where v is the coordinate across; loss at the end: " + ", ".join(
        f"{path.losses[-1]:.2g}" for _, path, _ in found
    )
    panels(drawn, "In a ravine", note).savefig(file, dpi=160)
    return "\n".join(
        f"{text:28} {changes:3} sign changes across, loss {path.losses[-1]:.3g}" for text, path, changes in found
    )


def detour(path: Path) -> float:
    """How much longer the way is than the straight line between its ends."""
    way = np.linalg.norm(np.diff(path.points, axis=0), axis=1).sum()
    return float(way / np.linalg.norm(path.points[-1] - path.points[0]))


def adagrad() -> list[tuple[str, Path, float]]:
    """Gradient descent and AdaGrad on a long bowl: what each is, its path, and how much longer than straight it is."""
    told = {"gradient descent, lr 0.2": Run(SGD, {"lr": 0.2}, LONG.start),
            "AdaGrad, lr 1": Run(Adagrad, {"lr": 1.0}, LONG.start)}  # fmt: skip
    paths = descend(LONG, list(told.values()), 100)
    return [(text, path, detour(path)) for text, path in zip(told, paths, strict=True)]


def draw_adagrad(file: File) -> str:
    """The L and the line."""
    land, found = Ground(LONG).land, adagrad()
    trails = [Trail(f"{text}: {far:.2f} times the straight way", ink(i), path.points, path.losses)
              for i, (text, path, far) in enumerate(found)]  # fmt: skip
    note = "100 steps on 0.1 x² + 2 y²; AdaGrad has a rate for each coordinate"
    panels([Panel("", land, trails)], "An L, and almost a line", note, 3.4, wide=5.4).savefig(file, dpi=160)
    return "\n".join(f"{text:28} {far:.3f} times the straight way" for text, _, far in found)


def vectors(gamma: float = 0.9, lr: float = 0.06, before: int = 3) -> dict[str, Array]:
    """One step of Momentum and one of NAG from the same point p with the same velocity v.

    Momentum: p − γ v, then − lr g(p). NAG: p − γ v first, then − lr g there. The state is Momentum's after `before`
    steps; both steps are made by the library's classes.
    """
    start = (-3.6, -1.55)
    settings = {"lr": lr, "momentum": gamma}
    (heavy,) = descend(SLOPE, [Run(Momentum, settings, start)], before + 1)
    p, end = heavy.points[before], heavy.points[before + 1]
    ahead = p + gamma * (p - heavy.points[before - 1])
    # NAG's gradient is that at the point to which momentum alone leads: one step of gradient descent from there
    (nag,) = descend(SLOPE, [Run(SGD, {"lr": lr}, (float(ahead[0]), float(ahead[1])))], 1)
    return {"p": p, "ahead": ahead, "momentum": end, "nag": nag.points[1]}


def draw_nag(file: File) -> str:
    """The vector diagram."""
    at = vectors()
    ground = Ground(SLOPE)
    box = np.array(list(at.values()))
    (x0, y0), (x1, y1) = box.min(0) - 0.35, box.max(0) + 0.35
    land = ground.land
    p, ahead, momentum, nag = ((float(v[0]), float(v[1])) for v in at.values())
    middle = (momentum[0] - ahead[0] + p[0], momentum[1] - ahead[1] + p[1])
    left = Panel("Momentum: the gradient where it is", land, (), [
        Arrow("−γ v, from the steps before", ink(0), p, ahead), Arrow("−lr g(p)", ink(1), p, middle),
        Arrow("the same, moved", ink(1), ahead, momentum, dashed=True), Arrow("the step", ink(2), p, momentum),
    ], [("p", p)])  # fmt: skip
    right = Panel("NAG: the gradient where it is about to be", land, (), [
        Arrow("−γ v, from the steps before", ink(0), p, ahead), Arrow("−lr g(p − γ v)", ink(1), ahead, nag),
        Arrow("the step", ink(2), p, nag),
    ], [("p", p), ("p − γ v", ahead)])  # fmt: skip
    sheet = panels(
        [left, right], "Where NAG looks", "one step from the same point with the same velocity", 3.2, wide=4.2
    )
    for axes in sheet.axes:
        axes.set(xlim=(x0, x1), ylim=(y0, y1))
    sheet.savefig(file, dpi=160)
    return "\n".join(f"{name:9} ({x:.4f}, {y:.4f})" for name, (x, y) in at.items())


LESSONS: Mapping[str, Callable[[File], str]] = {"ravine": draw_ravine, "adagrad": draw_adagrad, "nag": draw_nag}
