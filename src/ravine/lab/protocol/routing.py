"""Methods for the matrices inside a network: the lab trains them as `ravine.create` makes them, AdamW beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ravine.catalog.create import routed

from ..errors import LabError
from ..tasks import Task

if TYPE_CHECKING:
    from .search import Entry


def made(cls: Any, model: nn.Module, hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a class for a model; AdamW at its defaults has what a method for matrices is not made for."""
    if getattr(cls, "matrices", False):
        return routed(cls, model, hyper, {})
    return cls(model.parameters(), **hyper)


def check(entries: Iterable[Entry], task: Task) -> None:
    """Raise LabError where a method for matrices finds none inside the model of a task."""
    for entry in entries:
        if getattr(entry.cls, "matrices", False):
            try:
                made(entry.cls, task.model(), dict(entry.hyper))
            except ValueError as error:
                raise LabError(f"optimizer '{entry.name}' on task '{task.name}': {error}") from error
