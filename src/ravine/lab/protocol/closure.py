"""Optimizers that ask for the loss themselves, in every step once or often: torch.optim.LBFGS, SAM."""

from collections.abc import Callable
from functools import cache
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from ravine.strategies import SAM


def asks(opt: torch.optim.Optimizer) -> bool:
    """Whether `step` must be given a closure that goes forward and back: its class says so by a closure without a
    default."""
    return isinstance(opt, SAM) or _must(type(opt))


def answered(opt: Any, gradients: Callable[[], Tensor]) -> None:
    """A step of one that asks."""
    opt.step(closure=gradients)  # by name: torch's own annotation says that it returns a float


@cache
def _must(cls: type[torch.optim.Optimizer]) -> bool:
    closure = signature(cls.step).parameters.get("closure")
    return closure is not None and closure.default is Parameter.empty
