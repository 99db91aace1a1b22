"""The facts of each method: its year, its state, what it moves, read from its class and from its graph."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import torch

from ravine.catalog.bib import Entry, papers
from ravine.catalog.cli import ORDERS
from ravine.catalog.docstring import parts
from ravine.catalog.errors import CatalogError
from ravine.compile import Compiled
from ravine.compile.expr import HOST
from ravine.compile.geometry import extent
from ravine.optim import registry
from ravine.optimizer import Optimizer
from ravine.optimizer.explain import moved
from ravine.rule.hyper import SWITCHES, fields

COMMON = frozenset({*fields(Optimizer), *SWITCHES} - {"lr"})  # hyperparameters that all take: they belong to no method

SHAPE = (1024, 1024)  # of the weights that the bytes of a method's state are told for


@dataclass(frozen=True)
class Method:
    """One line of `ravine list`, at the method's defaults and for a float32 parameter.

    state: bytes kept for each element of a 1024 × 1024 matrix. What is as large as the weights, and a factor of the
        rows or of the columns, is 4 there; a number for each row is 0.004, and what has a rank depends on the shape.
    moved: bytes read and written for each element in a step.
    passes: how often the step goes over memory.
    """

    name: str
    year: int | None
    state: float
    moved: float
    passes: int
    sentence: str
    papers: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """As `ravine list --json` prints it."""
        return asdict(self) | {"papers": list(self.papers), "state_shape": list(SHAPE)}


def program(cls: type[Optimizer], **hyper: Any) -> Compiled:
    """What a method runs at its defaults, or at these hyperparameters."""
    opt = cls([torch.nn.Parameter(torch.zeros(1))], **hyper)
    return opt.compiled(opt.param_groups[0])


def state(made: Compiled, shape: Sequence[int] = SHAPE) -> float:
    """The bytes that a method keeps for each element of float32 weights of this shape, but for a few host numbers."""
    p = torch.empty(shape, device="meta")
    kept = [x.shape for x in made.program.start.values() if x.shape is not HOST]
    return 4 * sum(math.prod(extent(p, x, made.plan.view)) for x in kept) / max(1, p.numel())


def method(cls: type[Optimizer]) -> Method:
    """The facts of one class."""
    made = program(cls)
    plan, cited = made.plan, papers()
    return Method(
        name=cls.__name__,
        year=next((cited[key].year for key in cls.papers[:1] if key in cited), None),
        state=round(state(made), 2),
        moved=moved(plan, dict.fromkeys(plan.arrays, "float32")),
        passes=len(plan.kernels),
        sentence=parts(cls).sentence,
        papers=cls.papers,
    )


def methods(by: str = "name", of: Iterable[type[Optimizer]] | None = None) -> list[Method]:
    """Every method, or these, by name, year, state or cost; by name where those are equal, without a year last."""
    keys = {
        "name": lambda x: 0,
        "year": lambda x: x.year or 9999,
        "state": lambda x: x.state,
        "cost": lambda x: x.moved,
    }
    if by not in keys:
        raise CatalogError(f"methods are sorted by {', '.join(ORDERS)}, not by {by!r}")
    return sorted(map(method, registry().values() if of is None else of), key=lambda x: (keys[by](x), x.name.lower()))


class Cited(Protocol):
    """What comes from papers: a method, a schedule, a modifier, a strategy."""

    papers: ClassVar[tuple[str, ...]]  # keys of papers.bib, its own first


def cited(cls: type[Cited]) -> list[Entry]:
    """The papers of a class, its own first."""
    if not cls.papers:
        raise CatalogError(f'{cls.__name__} names no paper: give its class papers = ("key",), a key of papers.bib')
    known = papers()
    if absent := [key for key in cls.papers if key not in known]:
        raise CatalogError(f"{cls.__name__} names {absent[0]}, which papers.bib does not have")
    return [known[key] for key in cls.papers]


def defaults(cls: type[Optimizer]) -> dict[str, Any]:
    """{name: default} of what the method itself takes."""
    return {k: default for k, (_, default) in fields(cls).items() if k not in COMMON}
