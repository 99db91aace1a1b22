"""What the page may ask, checked and bounded: each number has a type and a range, and mistakes are told in words."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import torch

from ravine.catalog.names import beyond_the_loss
from ravine.optim import registry
from ravine.optimizer import Optimizer
from ravine.rule.hyper import settle
from ravine.strategies import SAM, Lookahead
from ravine.surfaces.crew import by_rows, by_tensors, program
from ravine.surfaces.find import BY_NAME, find
from ravine.surfaces.path import Run
from ravine.surfaces.play.controls import Control, controls
from ravine.surfaces.play.expression import Expression
from ravine.surfaces.surface import Point, Surface

RUNS = 16
STEPS = 2000
WORK = 16_000  # steps of all runs together: about a second
# Steps of all runs of a map, a few seconds: together in one tensor, in one optimizer, alone; and, for half a minute at
# most, those of what asks for gradients itself.
ROWS, TENSORS, ALONE, DRIVEN = 800_000, 300_000, 30_000, 10_000
FAR = 1e4  # coordinates
COLUMNS = 241  # of a grid
PARTS = 8  # of a tuple: AggMo's betas
STRATEGIES = ("none", "SAM", "Lookahead")  # what may drive an optimizer here
View = tuple[Point, Point]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    name: cls for name, cls in sorted(registry().items()) if cls.dense and not beyond_the_loss(cls)
}


class Refused(ValueError):
    """What is wrong with a question, and the field of the page that it came from."""

    def __init__(self, said: str, field: str = ""):
        super().__init__(said)
        self.field = field


@dataclass(frozen=True)
class Maker:
    """Makes an optimizer of parameters and settings, driven by a strategy or not."""

    cls: type[Optimizer]
    strategy: str = "none"
    rho: float = 0.05  # of SAM

    def __call__(self, params: Any, **settings: Any) -> torch.optim.Optimizer:
        opt = self.cls(params, **settings)
        if self.strategy == "none":
            return opt
        return SAM(opt, rho=self.rho) if self.strategy == "SAM" else Lookahead(opt)


@dataclass(frozen=True)
class Racer:
    """An optimizer by its name here, with the settings that differ from its defaults."""

    name: str
    settings: Mapping[str, Any]
    strategy: str = "none"
    rho: float = 0.05

    @property
    def maker(self) -> Callable[..., torch.optim.Optimizer]:
        """What makes it; the class itself where nothing drives it, whose runs can be rows of one tensor."""
        cls = OPTIMIZERS[self.name]
        return cls if self.strategy == "none" else Maker(cls, self.strategy, self.rho)


def bearable(racer: Racer) -> int:
    """How many steps of all its runs may be waited for."""
    one = racer.maker([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))], **racer.settings)
    if not isinstance(one, Optimizer):
        return DRIVEN
    return ROWS if by_rows(program(one)) else TENSORS if by_tensors(program(one)) else ALONE


@dataclass(frozen=True)
class Race:
    """Who runs where, from where, and how long."""

    surface: Surface
    racers: tuple[Racer, ...]
    start: Point
    steps: int
    seed: int

    def runs(self) -> list[Run]:
        return [Run(racer.maker, racer.settings, self.start, self.seed) for racer in self.racers]


def race(body: Mapping[str, Any], alone: bool = False) -> Race:
    """The race that a body asks for, or that of one alone."""
    surface, steps = surface_of(body), whole(body, "steps", 1, STEPS)
    found = [racer(x) for x in listed(body, "runs", 1 if alone else RUNS)]
    if len(found) * steps > WORK:
        raise Refused(f"{len(found)} optimizers of {steps} steps are too much at once; at most {WORK} steps together")
    return Race(surface, tuple(found), point(body.get("start"), "start"), steps, whole(body, "seed", 0, 2**31 - 1))


def surface_of(body: Mapping[str, Any]) -> Surface:
    """A known surface with its parameters, or somebody's own formula."""
    asked = body.get("surface")
    if not isinstance(asked, dict):
        raise Refused("surface: it must say a name, or a formula")
    if isinstance(formula := asked.get("formula"), str):
        return Expression(formula)  # its errors know the place
    name, given = asked.get("name"), asked.get("parameters", {})
    if not isinstance(name, str) or name not in BY_NAME or not isinstance(given, dict):
        raise Refused(f"surface: {str(name)[:40]!r} is not known; it is one of {', '.join(BY_NAME)}")
    known = {field.name: field.type for field in fields(BY_NAME[name])}  # pyright: ignore[reportArgumentType]
    try:
        return find(name, **{str(k): plain_number(x, str(k)) for k, x in given.items() if k in known})
    except (TypeError, ValueError) as error:
        raise Refused(str(error), "parameters") from None


def view(body: Mapping[str, Any], surface: Surface) -> View:
    """What is looked at: the surface's own view where nothing else is asked."""
    asked = body.get("view")
    if asked is None:
        return surface.view
    if not isinstance(asked, list) or len(asked) != 2:
        raise Refused("view: it must be [[x from, x to], [y from, y to]]")
    across, up = (point(side, "view") for side in asked)
    if any(high - low < 1e-6 for low, high in (across, up)):
        raise Refused("view: it must be wider than 1e-6, from low to high")
    return across, up


def aspect(body: Mapping[str, Any]) -> float:
    """Width by height of what is drawn."""
    x = plain_number(body.get("aspect"), "aspect")
    if not 0.25 <= x <= 4:
        raise Refused(f"aspect is {x:g}; it must lie between 0.25 and 4")
    return x


def racer(asked: Any) -> Racer:
    """An optimizer and its settings, as its own constructor would check them."""
    name, given = (asked.get("name"), asked.get("set", {})) if isinstance(asked, dict) else (None, {})
    if (
        not isinstance(asked, dict)
        or not isinstance(name, str)
        or name not in OPTIMIZERS
        or not isinstance(given, dict)
    ):
        raise Refused(f"runs: {str(name)[:40]!r} is not known; `ravine list` has them all", "runs")
    strategy, rho = asked.get("strategy", "none"), plain_number(asked.get("rho", 0.05), "rho")
    if strategy not in STRATEGIES:
        raise Refused(f"strategy is {str(strategy)[:40]!r}; it must be one of {', '.join(STRATEGIES)}", "runs")
    if not 0 <= rho <= FAR:
        raise Refused(f"rho is {rho:g}; it must lie between 0 and {FAR:g}", "runs")
    found = replace(checked(name, json.dumps(given)), strategy=strategy, rho=float(rho))
    try:
        found.maker([torch.nn.Parameter(torch.zeros(2))], **found.settings)  # what does not go together
    except (TypeError, ValueError) as error:
        raise Refused(str(error), "runs") from None
    return found


@lru_cache(256)  # a drag asks for the same ones again and again
def checked(name: str, given: str) -> Racer:
    """The racer with these settings, which are JSON."""
    cls, read = OPTIMIZERS[name], json.loads(given)
    known = {control.name: control for control in controls(cls)}
    if unknown := sorted(read.keys() - known):
        raise Refused(f"{cls.__name__} has no '{unknown[0][:40]}' to set here; it has {', '.join(known)}", "runs")
    try:
        settings = settle(cls, {k: setting(known[k], x) for k, x in read.items()})
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(str(error), "runs") from None
    return Racer(name, settings)


def setting(control: Control, x: Any) -> Any:
    """A value of JSON as Python's."""
    if not isinstance(x, list):
        return value(control, x)
    if len(x) > PARTS:
        raise Refused(f"{control.name} has {len(x)} parts; at most {PARTS} are read", "runs")
    return tuple(value(control, part) for part in x)


def value(control: Control, x: Any) -> Any:
    """A part of it. A whole number must be small, since a program is compiled for it."""
    if control.kind == "whole" and isinstance(x, int) and not 0 <= x <= control.high:
        raise Refused(f"{control.name} is {str(x)[:40]}; here it must lie between 0 and {control.high:g}", "runs")
    return math.inf if x == "inf" else x


def whole(body: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """A whole number between these."""
    x = body.get(name)
    if isinstance(x, bool) or not isinstance(x, int) or not low <= x <= high:
        raise Refused(f"{name} is {str(x)[:40]}; it must be a whole number from {low} to {high}", name)
    return x


def plain_number(x: Any, name: str) -> float | int:
    """A finite number of either type."""
    if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) <= 1e9:
        raise Refused(f"{name} is {str(x)[:40]}; it must be a number", name)
    return x


def point(x: Any, name: str) -> Point:
    """Two coordinates."""
    good: Callable[[Any], bool] = lambda c: isinstance(c, int | float) and not isinstance(c, bool) and abs(c) <= FAR  # noqa: E731
    if not isinstance(x, list) or len(x) != 2 or not all(map(good, x)):
        raise Refused(f"{name} is {str(x)[:60]}; it must be two numbers between {-FAR:g} and {FAR:g}", name)
    return float(x[0]), float(x[1])


def listed(body: Mapping[str, Any], name: str, most: int) -> list[Any]:
    """A list of at least one."""
    x = body.get(name)
    if not isinstance(x, list) or not 1 <= len(x) <= most:
        raise Refused(f"{name}: it must be a list of 1 to {most}", name)
    return x
