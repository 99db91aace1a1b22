"""`ravine race`: optimizers on a loss surface, as a picture or a film."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from ravine.cli.answer import Mistake, Parser, Whole, answer, drawable, own, replacing
from ravine.surfaces import lessons, maps
from ravine.surfaces.classic import CLASSIC
from ravine.surfaces.entrants import Entrant, entrants
from ravine.surfaces.find import NAMES, find, made
from ravine.surfaces.race import FILMS, STILLS, race
from ravine.surfaces.rates import GRID, STARTS
from ravine.surfaces.surface import Point, Surface
from ravine.typed import plain

SEVEN = "sgd,momentum,nag,adagrad,adadelta,rmsprop,adam"
STEPS = 150
MOST = 30_000_000  # steps of all runs, those of tuning included: some gigabytes
MAPS: dict[str, Callable[[Surface, list[Entrant], int, str, Path], str]] = {
    "rates": maps.rates,
    "momentum": maps.momentum,
    "basins": maps.basins,
}


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    words = iter(argv[1:])
    said = [f"{x}={next(words, '')}" if x == "--start" else x for x in words]  # argparse takes -1,0.5 for an option
    return answer(lambda: print(run(_parser().parse_args(said))), ValueError, TypeError, OSError, NotImplementedError)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine race",
        description="Optimizers on a loss surface in lock-step, computed by the library's own classes: a still "
        "(.png, .svg, .pdf) or a film (.gif; .mp4 where ffmpeg is installed).",
    )
    add = parser.add_argument
    add(
        "surface",
        metavar="SURFACE",
        nargs="?",
        help=", ".join(NAMES) + "; ravine:condition=30:angle=0 sets its own; or your own Surface as module:Class",
    )
    add("--optimizers", metavar="A,B,C",
        help=f"as in `ravine list`, with settings as in adam:lr=0.1:betas=(0.9,0.99) (default {SEVEN}; without adam "
        "where rates are classic)")  # fmt: skip
    add("-o", "--out", metavar="FILE", type=Path, default=Path("race.gif"), help="the picture (default race.gif)")
    add("--lr", metavar="MODE", help="same, default, tuned, classic or a number; it is written on the picture. "
        "tuned: for each the best of 29 rates from 16 random starts in as many steps; same: for all what is best "
        f"so for gradient descent; classic: of {' and '.join(CLASSIC)}, those that show what these two animations are "
         "known for, with the tuned ones beside them (default classic where no optimizers are named on these two, else "
         "tuned)")  # fmt: skip
    steps = ", ".join(f"{x.steps} on {name}" for name, x in CLASSIC.items())
    add("--steps", metavar="N", type=Whole(1, 10**12), help=f"of each optimizer (default {STEPS}; {steps})")
    add(
        "--start",
        metavar="X,Y",
        type=_point,
        help="where they begin, as in --start -1,0.5 (default: the surface's own)",
    )
    add("--starts", metavar="N", type=Whole(1, 10**12), help="in its place: so many random points")
    add("--seed", metavar="N", type=Whole(0, 2**62), default=0, help="of the surface's chance (default 0)")
    add(
        "--seeds",
        metavar="N",
        type=Whole(1, 10**12),
        default=1,
        help="so many runs of each, with a cloud around their ends",
    )
    add("--3d", dest="deep", action="store_true", help="as a relief")
    add("--map", choices=MAPS, help="rates: the loss over rate and step; momentum: over rate and momentum; "
        "basins: which minimum is reached from where, and how soon")  # fmt: skip
    add("--lesson", choices=lessons.LESSONS, help="a picture of the textbooks, which needs no surface")
    return parser


def run(asked: argparse.Namespace) -> str:
    """Makes the picture, and says what it shows."""
    out: Path = asked.out
    if asked.lesson or asked.map:
        kinds = STILLS
        out = Path("race.png") if out == Path("race.gif") else out
    else:
        kinds = (*STILLS, *FILMS)
    drawable(out, kinds)
    if asked.lesson and asked.surface:
        raise Mistake(f"--lesson {asked.lesson} has a surface of its own; leave out {asked.surface}")
    if asked.lesson:
        with replacing(out) as part:
            said = lessons.LESSONS[asked.lesson](part)
        return f"{said}\nwritten to {out}"
    if asked.surface is None:
        raise ValueError(f"which surface? One of {', '.join(NAMES)}")
    surface = _surface(asked.surface)
    classic = None if asked.map else CLASSIC.get(surface.name)
    steps = asked.steps or (classic.steps if classic else STEPS)
    mode = asked.lr or ("classic" if classic and asked.optimizers is None else "tuned")
    usual = ",".join(classic.rates) if classic and mode == "classic" else SEVEN
    racing = entrants(usual if asked.optimizers is None else asked.optimizers)
    runs = len(racing) * (
        (asked.starts or 1) * asked.seeds + len(GRID) * STARTS * (mode in ("tuned", "classic", "same"))
    )
    runs = len(racing) * maps.FINE**2 if asked.map == "basins" else runs
    if runs * steps > MOST:
        raise ValueError(f"{runs} runs of {steps} steps are too many at once: at most {MOST:,} steps of all together")
    rated = next((x.name for x in racing if "lr" in x.settings), None)
    if asked.map in ("rates", "momentum") and rated is not None:
        raise ValueError(f"--optimizers {rated}: --map {asked.map} tries every rate; leave lr out")
    if asked.map in ("rates", "momentum") and mode != "tuned":
        raise ValueError(f"--map {asked.map} tries every rate, so --lr {asked.lr} says nothing; leave it out")
    if asked.map:
        with replacing(out) as part:
            said = MAPS[asked.map](surface, racing, steps, mode, part)
        return f"{said}\nwritten to {out}"
    if asked.start and asked.starts:
        raise ValueError("--start is one point and --starts how many random ones; give one of the two")
    starts = asked.starts or ((asked.start,) if asked.start else ())
    seeds = range(asked.seed, asked.seed + asked.seeds)
    made = race(surface, racing, steps, mode, starts, seeds)
    with replacing(out) as part:
        made.write(part, asked.deep)
    return f"{made.table()}\nwritten to {out}"


def _surface(written: str) -> Surface:
    """Of `ravine:condition=30:angle=0`, and of somebody's own `module:Class:depth=3`."""
    name, *said = written.split(":")
    mine = None
    if said and "=" not in said[0] and plain(name) not in map(plain, NAMES):
        mine = own(f"{name}:{said.pop(0)}", "surface")
        if not (isinstance(mine, type) and issubclass(mine, Surface) and mine is not Surface):
            raise Mistake(f"surface '{written}' must be a class derived from ravine.surfaces.Surface")
    fields: dict[str, float] = {}
    for text in said:
        field, _, value = text.partition("=")
        try:
            fields[field] = int(value) if value.lstrip("+-").isdigit() else float(value)
        except ValueError:
            raise ValueError(f"{written!r}: {text!r} is no FIELD=NUMBER, such as condition=30") from None
    return made(mine, fields) if mine else find(name, **fields)


def _point(text: str) -> Point:
    """Of `1,1.5`."""
    try:
        x, y = (float(v) for v in text.split(","))
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no point; write X,Y, such as 1,1.5") from None
    return x, y
