"""An optimizer by its name."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from ravine.catalog.literature import PAPER
from ravine.catalog.names import find
from ravine.optimizer import Optimizer


def create(
    name: str,
    model_or_params: nn.Module | ParamsT,
    lr: float | Tensor | None = None,
    *,
    defaults: Literal["torch", "paper"] = "torch",
    **hyper: Any,
) -> Optimizer:
    """The optimizer of that name, for a model or for parameters.

        >>> import ravine, torch
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.create("adam", model, lr=1e-2, weight_decay=0.1)
        >>> ravine.create("RMS-prop", model, defaults="paper").defaults["alpha"]
        0.9
        >>> ravine.create("adam-eps", model.parameters()).defaults["eps"]
        0.0001

    name: as `ravine list` has it, or as it is often called: nesterov, heavy-ball, sgd-momentum, rectified-adam.
        Case, dashes and underscores do not count. Settings may follow, as in "adam:eps=1e-4:betas=(0.9,0.99)".
    model_or_params: a module, whose parameters are then known by name in the optimizer's groups; or what any
        optimizer takes: tensors, (name, tensor) pairs, or groups.
    lr: the step size; None takes the default.
    defaults: "torch" for those of the class, which are torch's where torch has the method; "paper" for the
        literature's, from ravine/catalog/literature.py.
    hyper: further hyperparameters of the method. They go before what the name says, and that before the defaults.
    """
    if not isinstance(name, str):
        raise TypeError(f"create: the first argument is {type(name).__name__}; it must be the name of an optimizer")
    if defaults not in ("torch", "paper"):
        raise ValueError(f"create: defaults is {defaults!r}; it must be 'torch' or 'paper'")
    cls, said = find(name)
    literature = PAPER[cls.__name__.lower()][0] if defaults == "paper" and cls.__name__.lower() in PAPER else {}
    if lr is not None:
        hyper["lr"] = lr
    params = model_or_params.named_parameters() if isinstance(model_or_params, nn.Module) else model_or_params
    return cls(params, **{**literature, **said, **hyper})
