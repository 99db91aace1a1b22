"""What was seen in one step: numbers for each layer, and which layers there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class Layer:
    """A module with parameters of its own that are trained. Weight and bias are one: the ratio of a bias that begins
    at zero would say nothing."""

    name: str
    params: list[Tensor] = field(default_factory=list[Tensor])
    places: list[int] = field(default_factory=list[int])  # of those that the optimizer has, among all it has
    groups: list[int] = field(default_factory=list[int])  # and their groups in it

    @property
    def has_matrix(self) -> bool:
        """True for more than biases, scales and gates, which may stay near zero for good."""
        return any(p.dim() > 1 for p in self.params)


@dataclass(eq=False)
class Sample:
    """One step. Lists have a number for each layer; NaN where there is none, as for a layer without a gradient."""

    step: int
    lr: list[float]
    grad_norm: list[float]  # ‖g‖, before clipping
    update_norm: list[float]  # ‖Δw‖
    weight_norm: list[float]  # ‖w‖ before the step
    still: list[str]  # why a layer did not move (findings.STILL); "" for those that did
    gradients: Tensor | None = None  # log-histograms, (layers, BINS)
    updates: Tensor | None = None
    dead: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])  # of how many units

    @property
    def ratio(self) -> list[float]:
        """‖Δw‖ / ‖w‖: which part of itself a step changes."""
        return [divided(u, w) for u, w in zip(self.update_norm, self.weight_norm, strict=True)]

    @property
    def effective_lr(self) -> list[float]:
        """‖Δw‖ / ‖g‖: the rate at which plain gradient descent would have made a step of this length."""
        return [divided(u, g) for u, g in zip(self.update_norm, self.grad_norm, strict=True)]


def divided(a: float, b: float) -> float:
    """a / b as floats have it: infinite, or NaN, where b is 0."""
    return a / b if b else math.inf * a if a else math.nan


def layers_of(model: nn.Module, opt: torch.optim.Optimizer) -> list[Layer]:
    """The layers of a model in its own order, and then what the optimizer has beside it."""
    places = {p: (i, k) for i, (k, p) in enumerate(trained(opt))}
    found: dict[str, Layer] = {}

    def put(name: str, p: Tensor) -> None:
        layer = found.setdefault(name, Layer(name))
        layer.params.append(p)
        if p in places:
            i, k = places.pop(p)
            layer.places.append(i)
            layer.groups.append(k)

    for name, p in model.named_parameters():
        if p.requires_grad or p in places:
            put(name.rpartition(".")[0] or name, p)
    for p, (i, _) in list(places.items()):
        put(f"parameter {i}", p)
    return list(found.values())


def trained(opt: torch.optim.Optimizer) -> list[tuple[int, Tensor]]:
    """All parameters of an optimizer, each with the number of its group."""
    return [(k, p) for k, group in enumerate(opt.param_groups) for p in group["params"]]


def length(norms: Sequence[float]) -> float:
    """The norm of all, from the norms of parts; of parts that are not there, NaN."""
    there = [x for x in norms if not math.isnan(x)]
    return math.hypot(*there) if there else math.nan
