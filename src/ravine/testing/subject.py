"""A rule under test: how an optimizer of it is opened, and what its steps are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ravine.compile.expr import HOST
from ravine.compile.trace import FRESH, inputs
from ravine.optimizer import Optimizer
from ravine.optimizer.state import shape_of
from ravine.rule.source import Given
from ravine.testing.tensors import Shapes, of, parameters, values

SHAPES: Shapes = [(), (7,), (3, 5), (2, 3, 4), (4097,)]


class LeftOut(Exception):
    """A law says nothing of this rule; why."""


class Reminder(Exception):
    """Nothing is wrong, and something is still to be done."""


@dataclass(frozen=True)
class Subject:
    """A rule, its hyperparameters, and what is given to its step t beside gradients."""

    rule: type[Optimizer]
    hyper: Mapping[str, Any] = field(default_factory=dict[str, Any])
    given: Callable[[Optimizer, int], Mapping[str, Given]] | None = None

    def opened(self, shapes: Shapes = SHAPES, dtype: torch.dtype = torch.float32, **more: Any) -> Optimizer:
        """An optimizer of the rule, over equal parameters each time."""
        return self.over(parameters(shapes, dtype=dtype), **more)

    def over(self, params: Any, **more: Any) -> Optimizer:
        """An optimizer of the rule, over these parameters or groups."""
        return self.rule(params, **{**self.hyper, **more})

    def step(self, opt: Optimizer, t: int, scale: float = 1.0) -> None:
        """A step with random gradients that depend only on t."""
        params = of(opt)
        for p, g in zip(params, values([tuple(p.shape) for p in params], 1000 + t, scale=scale), strict=True):
            p.grad = g.to(p.dtype).to(p.device).reshape(p.shape)
        self.go(opt, t)

    def go(self, opt: Optimizer, t: int) -> None:
        """A step with the gradients that are there."""
        opt.step(None, **(self.given or some)(opt, t))

    def walk(self, opt: Optimizer, steps: int, first: int = 0, scale: float = 1.0) -> Optimizer:
        """Steps one after the other; the optimizer."""
        for t in range(first, first + steps):
            self.step(opt, t, scale)
        return opt


def some(opt: Optimizer, t: int) -> dict[str, Given]:
    """Something that an optimizer may be given: numbers and arrays that are positive, matrices that are definite."""
    sign, out = -1.0 if opt.param_groups[0]["maximize"] else 1.0, dict[str, Given]()
    for n, (name, shape) in enumerate((k, x) for k, x in inputs(type(opt)).items() if k != FRESH):
        out[name] = sign * (30.0 + t) if shape is HOST else dict(arrays(opt, name, 100 * t + n))
    return out


def arrays(opt: Optimizer, name: str, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An array for each parameter that takes one of this name."""
    for group in opt.param_groups:
        for p in group["params"]:
            compiled = opt.compiled(group, p)
            if p.grad is not None and (x := compiled.program.start.get(name)) is not None:
                shape = shape_of(x, p, compiled.plan.view)
                (made,) = values([tuple(shape)], seed, dtype=torch.promote_types(p.dtype, torch.float32))
                square = len(shape) == 2 and x.shape in (("r", "r"), ("c", "c"))
                made = made @ made.T / shape[0] + torch.eye(shape[0]) if square else 0.5 + made.abs()
                yield p, (-made if group["maximize"] and name in opt.rule_of(group).turned else made).to(p.device)


def kept(opt: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """All that an optimizer holds, with its name: weights, states, and what lies beside them."""
    for i, p in enumerate(of(opt)):
        yield f"parameter {i} of shape {tuple(p.shape)}", p.detach()
        for k, x in sorted(opt.state.get(p, {}).items()):
            if isinstance(x, Tensor):
                yield f"state '{k}' of parameter {i} of shape {tuple(p.shape)}", x
