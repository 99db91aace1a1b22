"""What a surface is: a loss of two numbers, where to look at it, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform, get_type_hints

import torch
from torch import Tensor

from ravine.rule.hyper import value_of, within

Point = tuple[float, float]


@dataclass_transform(frozen_default=True)
class Surface:
    """A loss of x and y that optimizers are seen on.

        >>> import torch, ravine
        >>> from ravine import surfaces
        >>> beale = surfaces.find("beale")
        >>> p = torch.nn.Parameter(torch.tensor(beale.start, dtype=torch.float64))
        >>> opt = ravine.Adam([p], lr=0.1)
        >>> for _ in range(300):
        ...     opt.zero_grad()
        ...     loss = beale.loss(*p)
        ...     loss.backward()
        ...     opt.step()

    Subclass it as those in `ravine.surfaces.known` do: `loss`, and as class attributes where to look (`view`), where to
    begin (`start`), and what is known (`minima`, `saddles`); annotated fields with defaults are its parameters.

    What a path sees is more general, and only some surfaces say more than `loss`: a run has `begin`'s parameters, of
    any shape; step t goes down the gradient of `objective`, which may know t and chance; `project` puts parameters
    back where they may be; `seen` is the point that is drawn.
    """

    name: ClassVar[str] = ""  # what `find` and the commands call it
    view: ClassVar[tuple[Point, Point]] = ((-2.0, 2.0), (-2.0, 2.0))  # x from, to; y from, to
    start: ClassVar[Point] = (1.0, 1.0)
    minima: ClassVar[tuple[Point, ...]] = ()  # of those in the view: here the global ones stand first
    saddles: ClassVar[tuple[Point, ...]] = ()
    log: ClassVar[bool] = False  # levels of the contour grow by a factor above the smallest loss
    ranges: ClassVar[Mapping[str, str]] = {}  # of fields; others are (0, inf)

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        owner, hints = type(self).__name__, get_type_hints(type(self))
        for field in fields(self):  # pyright: ignore[reportArgumentType]
            value: Any = value_of(f"{owner}: {field.name}", hints[field.name], getattr(self, field.name))
            within(owner, field.name, self.ranges.get(field.name, "(0, inf)"), float(value))
            object.__setattr__(self, field.name, value)

    def title(self) -> str:
        """For a picture: "Rosenbrock, steepness 30"; what is at its default is not said."""
        said = [f"{x.name} {getattr(self, x.name):g}" for x in fields(self)  # pyright: ignore[reportArgumentType]
                if getattr(self, x.name) != x.default]  # fmt: skip
        return ", ".join([type(self).__name__, *said])

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss at points, element by element, for tensors of any shape; autograd can differentiate it."""
        raise NotImplementedError(f"{type(self).__name__} has no loss()")

    def begin(self, starts: Tensor) -> Tensor:
        """The parameters of runs that begin at these points: starts is (n, 2), and what is returned has n rows."""
        return starts.clone()

    def seen(self, parameters: Tensor) -> Tensor:
        """The point that is drawn, (…, 2), of parameters (…, *shape); linear, so that gradients are seen too."""
        return parameters

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a run's parameters: (2,), or that of the matrix which methods for matrices are given."""
        return tuple(self.begin(torch.zeros(1, 2, dtype=torch.float64)).shape[1:])

    def drawn(self, methods: Sequence[str] = ()) -> list[str]:
        """What a picture must say of what it does not show.

        methods: the names of those in it that are for matrices.
        """
        shape = self.shape
        if len(shape) > 1:
            return [f"all {' × '.join(map(str, shape))} numbers move; two coordinates are drawn"]
        return [f"to {', '.join(methods)} a point is a matrix of one column"] if methods else []

    def chance(self, steps: int, generator: torch.Generator) -> Tensor | None:
        """What chance does in one run, a row for each step; None where nothing is left to it."""
        return None

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        """What step t differentiates, of each run: (n,). Its value is the true loss, whatever is drawn.

        t: 0, 1, 2 …, as a tensor.
        chance: what `chance` has for this step, a row for each run.
        """
        return self.loss(*parameters.unbind(-1))

    def project(self, parameters: Tensor) -> None:
        """After each step: put parameters back, in place, into the set that they are bound to."""
