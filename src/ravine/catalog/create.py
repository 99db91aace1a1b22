"""An optimizer by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from ravine.catalog.literature import PAPER
from ravine.catalog.names import find
from ravine.groups import factored, split
from ravine.optim import AdamW
from ravine.optimizer import Optimizer, Routed
from ravine.rule.hyper import fields

OF_ALL = ("backend", "sources", "process_group", *(k for k in fields(Optimizer) if k != "lr"))  # whatever the rule


def create(
    name: str,
    model_or_params: nn.Module | ParamsT,
    lr: float | Tensor | None = None,
    *,
    defaults: Literal["torch", "paper"] = "torch",
    rest: Mapping[str, Any] | None = None,
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

    A method for matrices, such as Muon, is given those inside the model, and AdamW the rest, in one optimizer:

        >>> model = torch.nn.ModuleDict({"hidden": torch.nn.Linear(4, 4), "head": torch.nn.Linear(4, 9)})
        >>> print(ravine.create("muon", model, lr=0.02, rest={"lr": 3e-4}).routes())
        name           shape  rule   group  why
        hidden.weight  4×4    Muon   0      matrix
        hidden.bias    4      AdamW  1      bias
        head.weight    9×4    AdamW  1      head
        head.bias      9      AdamW  1      head
        <BLANKLINE>
        Muon: 1 parameter, 16 elements
        AdamW: 3 parameters, 49 elements

    name: as `ravine list` has it, or as it is often called: nesterov, heavy-ball, sgd-momentum, rectified-adam.
        Case, dashes and underscores do not count. Settings may follow, as in "adam:eps=1e-4:betas=(0.9,0.99)".
    model_or_params: a module, whose parameters are then known by name in the optimizer's groups; or what any
        optimizer takes: tensors, (name, tensor) pairs, or groups.
    lr: the step size; None takes the default.
    defaults: "torch" for those of the class, which are torch's where torch has the method; "paper" for the
        literature's, from ravine/catalog/literature.py.
    rest: hyperparameters of AdamW where a method for matrices is given a model.
    hyper: further hyperparameters of the method. They go before what the name says, and that before the defaults. What
        every method has (mods, maximize, storage, nonfinite …) is for the rest too.

    Which parameters are matrices inside the model is what `ravine.groups.split` says, by layers and names; where it
    finds another head than yours, make the two lists with `heads=` and give them to `ravine.Routed`. A model without
    any is an error for such a method. Parameters in place of a model all go to the method itself.
    """
    if not isinstance(name, str):
        raise TypeError(f"create: the first argument is {type(name).__name__}; it must be the name of an optimizer")
    if defaults not in ("torch", "paper"):
        raise ValueError(f"create: defaults is {defaults!r}; it must be 'torch' or 'paper'")
    cls, said = find(name)
    literature = PAPER[cls.__name__.lower()][0] if defaults == "paper" and cls.__name__.lower() in PAPER else {}
    if lr is not None:
        hyper["lr"] = lr
    given = {**literature, **said, **hyper}
    if cls.matrices and isinstance(model_or_params, nn.Module):
        return routed(cls, model_or_params, given, rest or {})
    if rest is not None:
        why = "parameters, not a model, are given" if cls.matrices else f"{cls.__name__} takes all parameters itself"
        raise TypeError(f"create: rest is for AdamW beside a method for matrices, such as Muon; here {why}")
    params = model_or_params.named_parameters() if isinstance(model_or_params, nn.Module) else model_or_params
    return cls(params, **given)


def routed(
    cls: type[Optimizer], model: nn.Module, given: Mapping[str, Any], rest: Mapping[str, Any], frozen: bool = True
) -> Routed:
    """The matrices inside a model to a method for them, and all else to AdamW."""
    inside, others = (factored if cls.layers else split)(model, frozen=frozen)
    if not inside:
        raise ValueError(
            f"create: {type(model).__name__} has no matrix inside it for {cls.__name__}: all of its parameters are "
            "vectors, embeddings, heads or norms; use adamw, or choose yourself and give them to "
            f"ravine.Routed({{ravine.{cls.__name__}: …, ravine.AdamW: …}})"
        )
    own = {k: x for k, x in given.items() if k not in OF_ALL}
    routes: dict[Any, Any] = {cls: {"params": inside, **own}}
    if others:
        routes[AdamW] = {"params": others, **rest}
    return Routed(routes, **{k: x for k, x in given.items() if k in OF_ALL})
