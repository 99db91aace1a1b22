"""The plane through the paths of a real network, and the true loss over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _NormBase

from ravine.strategies import PathRecorder, frozen_batch_norm
from ravine.surfaces.principal import Array, Principal, principal, walks
from ravine.surfaces.surface import Point, Surface
from ravine.visuals import ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Sheet

Loss = Callable[[nn.Module], Tensor]


@dataclass(frozen=True, eq=False)
class Track:
    """A path as its plane has it. Row i of each array is snapshot i; distances are Euclidean, over all parameters."""

    steps: list[int]
    points: Array  # [snapshots, 2]: the nearest points of the plane
    away: Array  # [snapshots]: how far from there the weights are
    losses: Array  # [snapshots]: the loss of the weights
    beneath: Array  # [snapshots]: the loss of the nearest point, which the picture shows
    held: float  # the share of the squared distances from the centre that lies in the plane
    broken: bool  # True if weights became infinite or NaN; the path ends before


class Plane(Surface):
    """The plane that lies closest to the paths of training runs, and the network's true loss over it.

        θ(x, y) = o + x u + y v        u, v: the first two principal directions of all snapshots about their mean

        >>> import torch
        >>> from ravine.strategies import PathRecorder
        >>> inputs = torch.randn(64, 3)
        >>> def loss(net):
        ...     return (net(inputs).squeeze() - inputs.sum(1)).square().mean()
        >>> paths = {}
        >>> for name, lr in (("slow", 0.01), ("fast", 0.1)):
        ...     _ = torch.manual_seed(0)
        ...     model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        ...     opt = torch.optim.SGD(model.parameters(), lr)
        ...     paths[name] = PathRecorder(model, every=2)
        ...     for step in range(20):
        ...         opt.zero_grad()
        ...         loss(model).backward()
        ...         opt.step()
        ...         paths[name].step()
        >>> plane = Plane(model, paths, loss)
        >>> sum(plane.shares) > 0.9, plane.tracks["fast"].points.shape
        (True, (11, 2))

    There is one principal component analysis of all snapshots of all paths, so that all lie in one picture. x and y
    are distances in the space of parameters; o is the point of the plane nearest to 0, so x = θ · u.

    `shares` are the parts of the variance along u and v, and `walks` what they would be for random walks that end as
    far from their starts: in many dimensions two directions hold 76 % of the variance of one such walk, so a large
    share alone says little.

    What is drawn is not what the runs met: their weights lie off the plane. `tracks` says for each snapshot how far,
    and the loss of both, of the weights and of the nearest point. Where these differ, the contours are no account of
    the run.

    The mean is the centre because the plane nearest to all snapshots goes through it. Li et al. take the last weights
    of one run, and find 40 to 90 % of the variance of a path in two directions; but about its end the way from there to
    the mean counts as variance, and of a random walk it is 90 %. Each snapshot counts the same: a path that goes far,
    or has many, draws the plane towards itself.

    model: the network; afterwards it is as before.
    paths: recorders of it, or of networks with the same parameters.
    measure: measure(model) is the loss that is drawn, such as the mean over all training data. Dropout is off
        meanwhile, and batch norm normalizes by what it is given: the running statistics belong to other weights.
    centre: "mean", or the mean of all that is "first" or "last".
    together: so many points are evaluated at once, by vmap. On a CPU that takes longer than one after another; it is
        meant for a GPU, and not every network can be mapped.

    As a surface it can be raced on: a run moves through all parameters, from a point of the plane, down the gradient of
    the loss, and its nearest points are drawn. Its parameters are one long vector there, and methods that look at
    layers or matrices see no others.

    Li, Xu, Taylor, Studer & Goldstein 2018, section 7    https://arxiv.org/abs/1712.09913
    Antognini & Sohl-Dickstein 2018    https://arxiv.org/abs/1806.08805
    """

    name = "plane"
    log = True
    __eq__ = object.__eq__  # what it holds cannot be compared or hashed
    __hash__ = object.__hash__

    model: nn.Module
    paths: Mapping[str, PathRecorder]
    measure: Callable[[nn.Module], Tensor]
    centre: Literal["mean", "first", "last"] = "mean"
    together: int = 1

    def __post_init__(self) -> None:
        if self.centre not in ("mean", "first", "last"):
            raise ValueError(f"Plane: centre is {self.centre!r}; it is mean, first or last")
        shapes = {name: p.shape for name, p in self.model.named_parameters()}
        if others := [name for name, path in self.paths.items() if path.shapes != shapes]:
            raise ValueError(f"Plane: the network of {', '.join(others)} had other parameters than the model has")
        if (n := sum(map(len, self.rows.values()))) < 3:
            raise ValueError(f"Plane: it takes at least three snapshots, and these paths have {n}")
        if min(map(len, self.rows.values())) == 0:
            raise ValueError("Plane: a path begins with weights that are infinite or NaN")
        x, y = zip(*(points[0] for points in self.split(self.found.points)), strict=True)
        self.__dict__.update(view=around(self.found.points), start=(float(np.mean(x)), float(np.mean(y))))

    def __repr__(self) -> str:
        x, y = self.shares
        return f"Plane({', '.join(self.paths)}: {x:.0%} and {y:.0%} of the variance)"

    def title(self) -> str:
        return repr(self)

    @cached_property
    def rows(self) -> dict[str, list[Tensor]]:
        """The snapshots of each path, up to weights that are infinite or NaN."""
        return {name: finite(path.rows) for name, path in self.paths.items()}

    @cached_property
    def weights(self) -> Array:
        """The centre is the sum of all snapshots, times these."""
        ends = np.cumsum([0, *map(len, self.rows.values())])
        chosen = np.zeros(ends[-1])
        chosen[{"mean": slice(None), "first": ends[:-1], "last": ends[1:] - 1}[self.centre]] = 1
        return chosen / chosen.sum()

    @cached_property
    def found(self) -> Principal:
        """Origin, directions and points."""
        return principal([row for kept in self.rows.values() for row in kept], self.weights)

    @property
    def shares(self) -> Point:
        """The parts of the variance along x and along y."""
        return self.found.shares

    @cached_property
    def walks(self) -> Point:
        """The same for random walks."""
        steps = [path.steps[: len(self.rows[name])] for name, path in self.paths.items()]
        gone = [float((rows[-1].double() - rows[0]).norm()) for rows in self.rows.values()]
        return walks(steps, gone, self.weights)

    @cached_property
    def tracks(self) -> dict[str, Track]:
        """{name: its path}; the network runs twice for each snapshot when this is first asked for."""
        made = dict[str, Track]()
        parts = zip(*map(self.split, (self.found.points, self.found.away, self.found.distances)), strict=True)
        for (name, rows), (points, away, distances) in zip(self.rows.items(), parts, strict=True):
            with torch.no_grad():
                losses = self.objective(torch.stack(rows).to(self.axes.device), torch.tensor(0))
                beneath = self.loss(*torch.from_numpy(points).unbind(1))
            made[name] = Track(
                steps=self.paths[name].steps[: len(rows)],
                points=points,
                away=away,
                losses=losses.double().cpu().numpy(),
                beneath=beneath.numpy(),
                held=float(1 - (away**2).sum() / (distances**2).sum()),
                broken=len(rows) < len(self.paths[name].rows),
            )
        return made

    def draw(self, title: str = "", points: int = 61) -> Sheet:
        """The loss over the plane with all paths, and beside it what it leaves out; `.savefig` writes it.

        title: stands above, with the shares of the variance.
        points: of the grid along the longer side; the network runs for each point of the grid.
        """
        from ravine.visuals.plane import Walk, plane  # matplotlib

        if not 2 <= points <= 2000:
            raise ValueError(f"Plane: points is {points!r}; it must lie between 2 and 2000")
        (x0, x1), (y0, y1) = self.view
        gap = max(x1 - x0, y1 - y0) / (points - 1)
        x, y = (torch.linspace(a, b, round((b - a) / gap) + 1, dtype=torch.float64) for a, b in self.view)
        with torch.no_grad():
            z = self.loss(*torch.meshgrid(x, y, indexing="xy")).numpy()
        trails = [
            Walk(name, ink(i), t.steps, t.points, t.losses, t.beneath, t.away)
            for i, (name, t) in enumerate(self.tracks.items())
        ]
        shares = f"{sum(self.shares):.0%} of the variance of the paths lies in this plane; "
        shares += f"for random walks in their place it would be {sum(self.walks):.0%}"
        first, second = (f"principal direction {i}: {share:.0%}" for i, share in enumerate(self.shares, 1))
        title = "\n".join(filter(None, (title, shares)))
        return plane(x.numpy(), y.numpy(), z, trails, (first, second), title)

    def split(self, x: Array) -> list[Array]:
        """What there is for all snapshots, path by path."""
        return np.split(x, np.cumsum([*map(len, self.rows.values())])[:-1])

    @cached_property
    def axes(self) -> Tensor:
        """o, u and v, where the model is: (3, parameters)."""
        return torch.cat([self.found.origin[None], self.found.axes]).to(next(self.model.parameters()).device)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The true loss of the network whose weights are the point's; its time is that of a forward for each point."""
        o, u, v = self.axes
        at = torch.stack([x.flatten(), y.flatten()], 1).to(self.axes)
        return self._losses(lambda point: o + point[0] * u + point[1] * v, at).view(x.shape).to(x)

    def begin(self, starts: Tensor) -> Tensor:
        """All parameters of the network at these points."""
        axes = self.axes.to(starts.dtype)
        return axes[0] + starts.to(axes.device) @ axes[1:]

    def seen(self, parameters: Tensor) -> Tensor:
        """The nearest points of the plane."""
        return parameters @ self.axes[1:].to(parameters.dtype).T

    def objective(self, parameters: Tensor, t: Tensor, chance: Tensor | None = None) -> Tensor:
        """The true loss of these parameters, a row for each network."""
        return self._losses(lambda row: row, parameters).to(parameters.dtype)

    def _losses(self, row: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        """The loss of the parameters row(point) of each of the points."""
        network = Network(self.model, self.measure)
        with settled(self.model):
            if self.together > 1:
                return vmap(lambda point: network.at(row(point)), chunk_size=self.together)(points)
            return torch.stack([network.at(row(point)) for point in points])


class Network(nn.Module):
    """The loss of a network as a module, whose parameters can be others for one call."""

    def __init__(self, model: nn.Module, loss: Loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self) -> Tensor:
        """The loss of the model that is there."""
        return self.loss(self.model)

    def at(self, row: Tensor) -> Tensor:
        """The loss of the parameters in this row."""
        named = dict(self.model.named_parameters())
        parts = row.split([p.numel() for p in named.values()])
        there = {f"model.{k}": x.view(p.shape).to(p.dtype) for (k, p), x in zip(named.items(), parts, strict=True)}
        return functional_call(self, there, ())


@contextmanager
def settled(model: nn.Module) -> Iterator[None]:
    """Within it what the model does is a function of weights and batch: no dropout, no running statistics."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for module, _ in modes:
        if isinstance(module, _NormBase):
            module.train()
    try:
        with frozen_batch_norm(model):
            yield
    finally:
        for module, training in modes:
            module.training = training


def finite(rows: list[Tensor]) -> list[Tensor]:
    """The rows before the first that has an infinity or a NaN."""
    broken = (i for i, row in enumerate(rows) if not row.isfinite().all())
    return rows[: next(broken, None)]


def around(points: Array) -> tuple[Point, Point]:
    """A frame around the points with some room, at most twice as wide as high or as high as wide."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, 0.6 * (high - low)
    half = np.maximum(half, half.max() / 2)
    (x0, y0), (x1, y1) = (middle - half).tolist(), (middle + half).tolist()
    return (x0, x1), (y0, y1)
