"""What the literature says of its two animations, as questions to paths, and the share of starts where it is so.

    On Beale's function Adagrad, Adadelta and RMSprop head off at once in the right direction, Momentum and NAG are
    led off the track, and NAG corrects its course sooner. At a saddle SGD, Momentum and NAG linger; adaptive methods
    leave quickly.

That was said of one start and of rates that are not told (Radford 2014, in Ruder 2016, section 4.10
https://arxiv.org/abs/1609.04747). Here each is defined, and asked of a grid of starts for each mode of the rates; and
`animation` measures what the two animations themselves show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from ravine.surfaces.classic import CLASSIC
from ravine.surfaces.entrants import entrants
from ravine.surfaces.find import find
from ravine.surfaces.path import Array, Path, Run, descend
from ravine.surfaces.rates import choose
from ravine.surfaces.surface import Point

PLAIN = ("sgd", "momentum", "nag")
ADAPTIVE = ("adagrad", "adadelta", "rmsprop", "adam")
SIDE = 12  # of the grid: so many starts along x, and along y

Paths = Mapping[str, Path]  # of each optimizer, from one start
Questions = dict[str, Callable[[Paths], bool | None]]  # None: the sentence says nothing of this start


def distance(path: Path, to: Point) -> Array:
    """From each point of a path."""
    return np.linalg.norm(path.shown - np.array(to), axis=1)


def heads_right(path: Path, to: Point) -> bool:
    """When it has gone a tenth of the distance, that lies within 45° of the straight way."""
    gone = np.linalg.norm(path.shown - path.shown[0], axis=1)
    straight = np.array(to) - path.shown[0]
    far = np.linalg.norm(straight)
    if path.diverged or not (gone >= 0.1 * far).any():
        return False
    t = int((gone >= 0.1 * far).argmax())
    return bool((path.shown[t] - path.shown[0]) @ straight >= gone[t] * far * np.cos(np.pi / 4))


def excursion(path: Path, to: Point) -> Array:
    """How much farther it is than it has already been, as a part of the distance at the start."""
    far = distance(path, to)
    return (far - np.minimum.accumulate(far)) / far[0]


def led_off(path: Path, to: Point) -> bool:
    """It comes back by a tenth of the distance, or more, from where it has already been; and it does not diverge."""
    return not path.diverged and bool(excursion(path, to).max() >= 0.1)


def corrects_sooner(path: Path, other: Path, to: Point) -> bool:
    """It is not led off, or turns at an earlier step than the other: where that is farthest off the track."""
    if path.diverged:
        return False
    return not led_off(path, to) or bool(excursion(path, to).argmax() < excursion(other, to).argmax())


def leaves(path: Path) -> float:
    """The first step after which it is 1 or more from the ridge of the saddle; infinite if there is none."""
    out = np.abs(path.shown[:, 1]) >= 1
    return float(out.argmax()) if out.any() else np.inf


def lingers(paths: Paths, name: str) -> bool:
    """It never leaves, or it is still there when two of the four adaptive methods have left."""
    return leaves(paths[name]) > sorted(leaves(paths[x]) for x in ADAPTIVE)[1] or leaves(paths[name]) == np.inf


def leaves_first(paths: Paths, name: str) -> bool:
    """It leaves before SGD, Momentum and NAG do."""
    return leaves(paths[name]) < min(leaves(paths[x]) for x in PLAIN)


def strays(path: Path, to: Point) -> float:
    """How far it is from the straight way between its start and there, at most."""
    (x, y), start = to, path.shown[0]
    across = np.array([start[1] - y, x - start[0]]) / np.hypot(x - start[0], y - start[1])
    return float(np.abs((path.shown - start) @ across).max())


MINIMUM = (3.0, 0.5)
BEALE: Questions = {
    **{f"{name} heads off rightly": lambda p, n=name: heads_right(p[n], MINIMUM) for name in (*PLAIN, *ADAPTIVE)},
    **{f"{name} is led off": lambda p, n=name: led_off(p[n], MINIMUM) for name in (*PLAIN, *ADAPTIVE)},
    "nag corrects sooner than momentum, where that is led off": lambda p: (
        corrects_sooner(p["nag"], p["momentum"], MINIMUM) if led_off(p["momentum"], MINIMUM) else None
    ),
}
SADDLE: Questions = {
    **{f"{name} lingers": lambda p, n=name: lingers(p, n) for name in PLAIN},
    **{f"{name} leaves quickly": lambda p, n=name: leaves_first(p, n) for name in ADAPTIVE},
}
# the surface: steps, where starts lie, and what is asked; starts at the saddle are those near its ridge
ASKED = {
    "beale": (150, ((-4.5, 4.5), (-4.5, 4.5)), BEALE),
    "saddle": (100, ((-1.5, 1.5), (-0.01, 0.01)), SADDLE),
}


@cache
def walks(surface: str, mode: str) -> Sequence[Paths]:
    """The paths of all seven optimizers from each of 12 × 12 starts.

    mode: of the rates: "same", "default" or "tuned" (`rates.choose`).
    """
    steps, ((x0, x1), (y0, y1)), _ = ASKED[surface]
    ground, racing = find(surface), entrants(",".join((*PLAIN, *ADAPTIVE)))
    middle = (np.arange(SIDE) + 0.5) / SIDE
    starts = [(x, y) for y in (y0 + (y1 - y0) * middle).tolist() for x in (x0 + (x1 - x0) * middle).tolist()]
    lrs = choose(ground, racing, mode, steps)
    runs = [Run(x.optimizer, {"lr": lr}, at) for at in starts for x, lr in zip(racing, lrs, strict=True)]
    paths, names = descend(ground, runs, steps, shown=True), [x.name for x in racing]
    return [dict(zip(names, paths[i : i + len(names)], strict=True)) for i in range(0, len(paths), len(names))]


def shares(surface: str, mode: str) -> Mapping[str, float]:
    """{sentence: the share of starts where it holds}, of those of which it says anything; for "beale" and "saddle"."""
    with np.errstate(all="ignore"):  # what diverges
        answers = {text: [ask(paths) for paths in walks(surface, mode)] for text, ask in ASKED[surface][2].items()}
    said = {text: [x for x in every if x is not None] for text, every in answers.items()}
    return {text: sum(every) / len(every) if every else float("nan") for text, every in said.items()}


def leaving(mode: str) -> Mapping[str, float]:
    """{optimizer: the median step at which it leaves the ridge of the saddle}; infinite where most do not."""
    found = walks("saddle", mode)
    return {name: float(np.median([leaves(paths[name]) for paths in found])) for name in (*PLAIN, *ADAPTIVE)}


def animation(surface: str, mode: str) -> Mapping[str, tuple[float, float]]:
    """{optimizer of the classic animation: its rate, and how far it strays on Beale's function, or the step at which it
    leaves the ridge of the saddle}, from the surface's own start.

    mode: "classic" or "tuned".
    """
    ground, classic = find(surface), CLASSIC[surface]
    racing = entrants(",".join(classic.rates))
    lrs = choose(ground, racing, mode, classic.steps)
    runs = [Run(x.optimizer, {"lr": lr}, ground.start) for x, lr in zip(racing, lrs, strict=True)]
    paths = descend(ground, runs, classic.steps, shown=True)
    shown = [strays(path, MINIMUM) if surface == "beale" else leaves(path) for path in paths]
    return {x.name: (lr, each) for x, lr, each in zip(racing, lrs, shown, strict=True)}
