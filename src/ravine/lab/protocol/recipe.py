"""What makes an optimizer where a class is not all of it: a function or a partial of somebody's own, a class of ours
with modifiers. Where trials name a class it stands in its place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, getdoc, isclass, isfunction, signature
from typing import Any, ClassVar, cast

import torch
from torch import nn

import ravine
from ravine.cli.answer import own
from ravine.optimizer import Optimizer
from ravine.rule.modifier import Modifier
from ravine.typed import hint

from ..errors import LabError

MODIFIERS: Mapping[str, type[Modifier]] = {
    name: x for name, x in vars(ravine.mods).items() if isclass(x) and issubclass(x, Modifier)
}


class Recipe:
    """Called as a class of optimizers is, it gives what a function makes; its signature and its text are that one's."""

    makes: ClassVar[type] = torch.optim.Optimizer  # the class, where that is known
    given: ClassVar[Mapping[str, Any]] = {}  # what the class is given beside hyperparameters
    matrices: ClassVar[bool] = False
    dense: ClassVar[bool] = True


def made_of(cls: type) -> type:
    """The class itself, or that of what a recipe makes."""
    return cls.makes if isinstance(cls, type) and issubclass(cls, Recipe) else cls


def of_model(cls: Any, model: nn.Module) -> Any:
    """What the first argument of a constructor or a function is for: most take the parameters; one that is called
    `model` is given the model, `named_parameters` the pairs. Frozen ones are left out."""
    first = next(iter(signature(cls).parameters), "")
    if first == "model":
        return model
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return named if first == "named_parameters" else [p for _, p in named]


def recipe(make: Callable[..., Any], name: str, module: str, cls: type | None = None) -> type[Recipe]:
    """The recipe that calls `make`; `cls` is the class of what that makes, where it is known."""
    given = dict(make.keywords) if isinstance(make, partial) else {}
    body: dict[str, Any] = {
        "__new__": lambda _, *args, **hyper: make(*args, **hyper),
        "__signature__": signature(make),
        "__module__": module,
        "__doc__": getdoc(cls or make),
    }
    if cls is not None:
        body |= {"makes": cls, "given": given} | {k: getattr(cls, k) for k in ("matrices", "dense") if hasattr(cls, k)}
    return type(name, (Recipe,), body)


def somebodys(typed: str) -> tuple[type, dict[str, Any]] | None:
    """The recipe of the function or partial at module:name, and its plain settings; None of a class, which is read as
    one."""
    found, (module, _, name) = own(typed, "optimizer"), typed.partition(":")
    root: Any = cast(Any, found).func if isinstance(found, partial) else found
    cls: type | None = root if isclass(root) and issubclass(root, torch.optim.Optimizer) else None
    if isclass(found):
        return None
    if not (cls or isfunction(root)):
        raise LabError(f"optimizer '{typed}' is a {type(found).__name__}: it must be a class derived from torch.optim."
                       "Optimizer or ravine.Optimizer, or a function or partial that makes one")  # fmt: skip
    if isinstance(found, partial) and found.args:
        raise LabError(f"optimizer '{typed}' is a partial with arguments by place, of which the first are the "
                       "parameters: give them by name, as functools.partial(ravine.Adam, eps=1e-4)")  # fmt: skip
    if not isinstance(found, partial):
        return recipe(found, name, module), {}
    settings = {k: x for k, x in found.keywords.items() if _plain(x)}
    objects = {k: x for k, x in found.keywords.items() if k not in settings}
    if cls is not None and not objects:
        return cls, settings
    return recipe(partial(root, **objects), name, module, cls), settings


def modified(cls: type, text: str, typed: str) -> tuple[type[Recipe], str]:
    """A class of ours with the modifiers that are written so, as [ClipNorm(1.0),EMA(0.999)], and their one form."""
    if not issubclass(cls, Optimizer):
        raise LabError(f"optimizer '{typed}': mods are of ravine's own classes; {cls.__name__} takes none")
    mods, said = _modifiers(text, typed)
    make = partial(cls, mods=mods)
    return recipe(make, cls.__name__, cls.__module__, cls), said


def returned(opt: Any, cls: Any) -> torch.optim.Optimizer:
    """What a recipe gave; LabError where that is no optimizer."""
    if not isinstance(opt, torch.optim.Optimizer):
        raise LabError(f"{cls.__module__}:{cls.__name__} returned a {type(opt).__name__}: it must return an optimizer "
                       "derived from torch.optim.Optimizer")  # fmt: skip
    return opt


def open_ended(cls: type) -> bool:
    """Whether it takes any name: somebody's own function with **hyper."""
    return issubclass(cls, Recipe) and any(x.kind is Parameter.VAR_KEYWORD for x in signature(cls).parameters.values())


def _plain(x: Any) -> bool:
    return isinstance(x, str | int | float | None) or (isinstance(x, tuple) and all(map(_plain, x)))


def _modifiers(text: str, typed: str) -> tuple[list[Modifier], str]:
    """Modifiers of `ravine.mods`, with arguments that are plain values: the text runs no code of anybody's."""
    try:
        tree = ast.parse(text, mode="eval").body
        calls = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
        return [_modifier(call) for call in calls], ast.unparse(ast.List(calls)).replace(" ", "")
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError) as error:
        why = "this is no Python" if isinstance(error, SyntaxError) else str(error)
        raise LabError(
            f"optimizer '{typed}': {why}; modifiers are written as mods=[ClipNorm(1.0),EMA(0.999)]"
        ) from error


def _modifier(call: ast.expr) -> Modifier:
    whole = f"{ast.unparse(call)} is no modifier with plain numbers"
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise ValueError(whole)
    if call.func.id not in MODIFIERS:
        name = call.func.id
        raise ValueError(f"no modifier is called {name}: {hint(name, MODIFIERS)}there are {', '.join(MODIFIERS)}")
    try:
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        places = [ast.literal_eval(x) for x in call.args]
    except ValueError:
        raise ValueError(whole) from None
    return MODIFIERS[call.func.id](*places, **named)
