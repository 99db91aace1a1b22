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

import ravine
from ravine.catalog.create import routed
from ravine.optim import AdamW
from ravine.optimizer import Optimizer

from ..errors import LabError
from ..tasks import Task
from .both import Both
from .closure import asks
from .recipe import Recipe, made_of, of_model, returned
from .spaces import REST, for_matrices, middle, shared

if TYPE_CHECKING:
    from .search import Entry


def made(cls: Any, model: nn.Module, hyper: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a class, or of a recipe, for a model; AdamW has what a method for matrices is not made for, at
    rest_lr where the hyperparameters say that, else at its default. Weights that are frozen are left out."""
    if not for_matrices(cls):
        return returned(cls(of_model(cls, model), **hyper), cls)
    own = {**getattr(cls, "given", {}), **{k: x for k, x in hyper.items() if k != REST}}
    rest, rule = {"lr": hyper[REST]} if REST in hyper else {}, made_of(cls)
    if issubclass(rule, Optimizer):
        return routed(rule, model, own, rest, frozen=False)
    inside, others = ravine.groups.split(model, frozen=False)
    if not inside:
        raise ValueError(f"{type(model).__name__} has no matrix inside it for {rule.__name__}")
    return Both(rule(inside, **own), *([AdamW(others, **rest)] if others else []))


def beside(cls: type, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters with the rate of AdamW among them, where it is a method for matrices and they do not say it."""
    if not for_matrices(cls) or REST in hyper:
        return dict(hyper)
    return {**hyper, REST: float(f"{hyper['lr'] * ratio(cls, hyper):.3g}")}


def ratio(cls: type, hyper: Mapping[str, Any]) -> float:
    """Of AdamW's rate to that of the method."""
    if REST in hyper and "lr" in hyper:
        return hyper[REST] / hyper["lr"]
    return 1.0 if not for_matrices(cls) or shared(cls, hyper) else middle(AdamW) / middle(cls)


def check(entries: Iterable[Entry], task: Task, precision: str = "float32") -> None:
    """Raise LabError where an optimizer cannot be made for the model of a task, at both ends of its space."""
    model = task.model()
    for entry in entries:
        for end in (0, 1):
            try:
                opt = made(entry.cls, model, dict(entry.built(entry.corner(end))))
            except Exception as error:  # of a constructor or a function that may be the person's
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                text = f"optimizer '{entry.name}' on task '{task.name}': {kind}{' '.join(str(error).split())}"
                if not isinstance(error, LabError) and issubclass(entry.cls, Recipe):
                    text += "; a function is given the parameters and hyperparameters, and must return an optimizer"
                raise LabError(text) from error
        if precision == "fp16" and asks(opt):
            raise LabError(f"optimizer '{entry.name}' asks for the loss itself, and --precision fp16 scales it: "
                           "take bf16")  # fmt: skip
