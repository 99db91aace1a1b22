"""From what a user says of a server to its plan, with all that can be wrong about it said at once."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn

from ravine.catalog.names import find
from ravine.compile.launch.rows import separable
from ravine.optimizer import Optimizer
from ravine.parallel.placement import How, place
from ravine.parallel.server.admit import Policy
from ravine.parallel.server.handle import Handle, trained
from ravine.parallel.server.plan import Plan
from ravine.parallel.server.shard import Rule, Shard
from ravine.parallel.server.talk import Lines
from ravine.saved import told, whole

Params = nn.Module | Iterable[tuple[str, Tensor]] | Iterable[Tensor]
Ruled = str | type[torch.optim.Optimizer] | Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Planned:
    """A plan, and what workers are told of it: the rule's name and numbers, and whether pushes are measured."""

    plan: Plan
    rule: str
    hyper: Mapping[str, float]
    measured: bool

    def handle(self, number: int, connect: Callable[[int], Lines]) -> Handle:
        """How a worker of this number reaches the shards."""
        return Handle(number, self.plan.placement, self.rule, self.hyper, connect, self.measured)


class Named:
    """A rule by its name and settings, which other processes can make."""

    def __init__(self, typed: str):
        find(typed)
        self.typed = typed

    def __call__(self, params: list[nn.Parameter]) -> torch.optim.Optimizer:
        cls, settings = find(self.typed)
        return cls(params, **settings)


def planned(
    params: Params,
    rule: Ruled = "adagrad",
    *,
    shards: int = 1,
    placement: How = "greedy",
    split: bool | None = None,
    admit: Sequence[Policy] = (),
    who: str = "ParameterServer",
) -> Planned:
    """The plan of a server: see `ParameterServer`. who: is named in errors."""
    tensors = {k: x.cpu().clone() for k, x in named(params).items()}
    shards = whole(f"{who}: shards", shards, 1, where="")
    if not callable(rule) and not isinstance(rule, str):
        raise TypeError(f"{who}: rule is {told(rule)}; give a name, an optimizer's class, or functools.partial")
    make: Rule = Named(rule) if isinstance(rule, str) else cast(Rule, rule)
    one = Shard(list(tensors.values()), make, admit)  # raises where the rule and the policies do not fit
    if any(x.name == "closure" and x.default is x.empty for x in signature(one.opt.step).parameters.values()):
        raise TypeError(
            f"{who}: {type(one.opt).__name__} computes the loss several times in a step, and a server has "
            "gradients only; give another rule"
        )
    split = alone(one.opt) if split is None else split
    placed = place(tensors.items(), shards, placement, split=split)
    if empty := [i for i in range(shards) if not placed.at(i)]:
        raise ValueError(f"{who}: shard {empty[0]} of {shards} has no parameter; give fewer shards")
    hyper = {k: float(x) for k, x in one.opt.param_groups[0].items() if isinstance(x, int | float)}
    measured = any(x.needs_square for x in admit)
    return Planned(Plan(tensors, placed, make, admit), type(one.opt).__name__, hyper, measured)


def named(params: Any) -> dict[str, Tensor]:
    """Parameters by name."""
    if isinstance(params, nn.Module):
        params = params.named_parameters()
    listed = list(params) if isinstance(params, Iterable) else [params]
    pairs = [x if isinstance(x, tuple) else (str(i), x) for i, x in enumerate(listed)]
    if not pairs or any(not isinstance(x, Tensor) for _, x in pairs):
        raise TypeError(f"ParameterServer: params is {told(listed)}; give a model, or its named_parameters()")
    return {k: x.detach() for k, x in pairs if trained(x)}


def sendable(what: str, x: Any, wanted: str) -> None:
    """Raise TypeError where another process could not be sent this."""
    try:
        pickle.dumps(x)
    except Exception as error:
        raise TypeError(
            f"ParameterServer: {what} is {told(x)}, which cannot be sent to other processes ({error}); give {wanted}"
        ) from None


def alone(opt: torch.optim.Optimizer) -> bool:
    """True if what becomes of an element depends on no other."""
    return isinstance(opt, Optimizer) and all(
        separable(opt.compiled(group, p).plan) for group in opt.param_groups for p in group["params"]
    )
