"""Methods for the matrices inside a network: the lab trains them as `ravine.create` makes them, AdamW beside them.

AdamW's rate is a hyperparameter of its own, `rest_lr`, and is searched as one. Where lr alone is searched or raised,
rest_lr goes with it: it is equal to lr where a step of the method is as long as AdamW's (SHARED), and else in the
ratio of the middles of their spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ravine.catalog.create import routed
from ravine.optim import AdamW

from ..errors import LabError
from ..tasks import Task
from .spaces import REST, middle, shared

if TYPE_CHECKING:
    from .search import Entry


def made(cls: Any, model: nn.Module, hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a class for a model; AdamW has what a method for matrices is not made for, at rest_lr where the
    hyperparameters say that, else at its default. Weights that are frozen are left out."""
    if not getattr(cls, "matrices", False):
        return cls([p for p in model.parameters() if p.requires_grad], **hyper)
    own = {k: x for k, x in hyper.items() if k != REST}
    return routed(cls, model, own, {"lr": hyper[REST]} if REST in hyper else {}, frozen=False)


def beside(cls: type, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with the rate of AdamW among them, where it is a method for matrices and they do not say it."""
    if not getattr(cls, "matrices", False) or REST in hyper:
        return dict(hyper)
    return {**hyper, REST: float(f"{hyper['lr'] * ratio(cls, hyper):.3g}")}


def ratio(cls: type, hyper: Mapping[str, Any]) -> float:
    """Of AdamW's rate to that of the method."""
    if REST in hyper and "lr" in hyper:
        return hyper[REST] / hyper["lr"]
    return 1.0 if not getattr(cls, "matrices", False) or shared(cls, hyper) else middle(AdamW) / middle(cls)


def check(entries: Iterable[Entry], task: Task) -> None:
    """Raise LabError where a method for matrices finds none inside the model of a task."""
    for entry in entries:
        if getattr(entry.cls, "matrices", False):
            try:
                made(entry.cls, task.model(), dict(entry.hyper))
            except ValueError as error:
                raise LabError(f"optimizer '{entry.name}' on task '{task.name}': {error}") from error
