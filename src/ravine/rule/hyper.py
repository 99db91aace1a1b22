"""The hyperparameters of an optimizer: its annotated fields, with the checks that bad input meets."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from operator import index
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor
from torch.nn import Module

from ravine.saved import has_memory, told
from ravine.typed import hint, plain

SWITCHES = (
    "foreach",
    "fused",
    "differentiable",
)  # torch's: they choose an implementation there


@cache
def fields(cls: type) -> dict[str, tuple[Any, Any]]:
    """{name: (type, default)} of the hyperparameters that `cls` takes, its own first, then the common ones."""
    hints = {k: t for k, t in get_type_hints(cls).items() if get_origin(t) is not ClassVar and not k.startswith("_")}
    found: dict[str, tuple[Any, Any]] = {}  # `lr: float = 1` means 1.0
    for base in cls.__mro__:
        for name in inspect.get_annotations(base) if hasattr(base, "twin") else ():
            if name in hints and name != "params":
                default = value_of(f"{cls.__name__}: {name}", hints[name], getattr(cls, name))
                found.setdefault(name, (as_tuple(hints[name]), default))
    twin = getattr(cls, "twin", None)
    taken = inspect.signature(twin).parameters if twin else {}
    return found | {name: (bool | None, taken[name].default) for name in SWITCHES if name in taken}


@cache
def places(cls: type) -> tuple[str, ...]:
    """The hyperparameters that the constructor takes by place, after params: lr, or what torch's class takes so."""
    known, twin = fields(cls), getattr(cls, "twin", None)
    taken = inspect.signature(twin).parameters.values() if twin else ()
    names = [x.name for x in taken if x.kind is x.POSITIONAL_OR_KEYWORD and x.name in known]
    return tuple(names) or ("lr",)


def constructor(cls: type) -> inspect.Signature:
    """What an optimizer's constructor takes: params and `places` by place too, all else by name."""
    by_either, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    known = {k: default for k, (_, default) in fields(cls).items()}
    first = [inspect.Parameter(k, by_either, default=known[k]) for k in places(cls)]
    others = [inspect.Parameter(k, by_name, default=default) for k, default in known.items() if k not in places(cls)]
    whole = {"backend": None, "sources": (), "process_group": None}  # of the whole optimizer, not of a group
    more = [inspect.Parameter(name, by_name, default=default) for name, default in whole.items()]
    return inspect.Signature([inspect.Parameter("params", by_either), *first, *others, *more])


def by_place(cls: type, more: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of the arguments that were given by place after lr."""
    known = places(cls)[1:]
    if len(more) > len(known):
        most, other = ", ".join(("params", "lr", *known)), next(k for k in fields(cls) if k not in places(cls))
        raise TypeError(f"{cls.__name__} takes {most} by place, and {len(more) + 2} arguments were given so; "
                        f"write the others with their names, such as {other}=…")  # fmt: skip
    found = dict(zip(known, more, strict=False))
    if twice := found.keys() & named.keys():
        raise TypeError(f"{cls.__name__}: {min(twice)} is given twice, by place and by name")
    return found


def check_params(who: str, given: object) -> None:
    """Raise TypeError where params is a model, a class, or a method that was not called.

    A module that yields tensors, such as ParameterList, is taken as torch takes it.
    """
    if isinstance(given, type):
        said = f"the class {given.__name__}; make a model of it, and give its parameters: model.parameters()"
    elif isinstance(given, Module):
        if isinstance(given, Iterable) and not any(isinstance(x, Module | str) for x in given):
            return
        said = f"a module, {type(given).__name__}; give its parameters: model.parameters()"
    elif callable(given):
        said = f"a function, {getattr(given, '__name__', given)!r}; call it: model.parameters()"
    else:
        return
    raise TypeError(f"{who}: params is {said}")


def as_tuple(kind: Any) -> Any:
    """The type of a field whose lists become tuples, as the tuple that it will be."""
    if get_origin(kind) is Sequence:
        return tuple[get_args(kind)[0], ...]
    if get_origin(kind) in (UnionType, Union) and any(get_origin(x) is list for x in get_args(kind)):
        return next(x for x in get_args(kind) if get_origin(x) is tuple)
    return kind


def constants(cls: type) -> dict[str, Any]:
    """{name: value} of the hyperparameters of a base that `cls` fixes as ClassVars: AdamW's decoupled decay."""
    above = {name for base in cls.__mro__[1:] if hasattr(base, "twin") for name in fields(base)}
    return {name: getattr(cls, name) for name in above - fields(cls).keys() if hasattr(cls, name)}


# names used by other libraries → the name here; the first that the class has
ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "learningrate": ("lr",),
    "stepsize": ("lr",),
    "eta": ("lr",),
    "epsilon": ("eps",),
    "rho": ("alpha",),
    "decay": ("weight_decay",),
    "decayrate": ("alpha", "rho"),
    "wd": ("weight_decay",),
    "l2": ("weight_decay",),
    "alpha": ("lr",),
    "lambda": ("weight_decay",),
    "beta": ("momentum", "rho"),
    **dict.fromkeys(("beta1", "b1"), ("momentum", "beta", "rho")),
    **dict.fromkeys(("beta2", "b2"), ("alpha", "rho")),
    "momentum": ("betas", "beta1", "beta", "alpha"),
    "mu": ("momentum", "betas"),
    "nesterov": ("form",),
    "usenesterov": ("nesterov",),
    "decoupleddecay": ("decoupled_weight_decay",),
    "weightdecouple": ("decoupled_weight_decay",),
    "initialaccumulator": ("initial_accumulator_value",),
    "epsroot": ("eps_inside",),
}
PLACES: Mapping[str, str] = {  # and what is a part of something here, or a modifier
    **dict.fromkeys(("beta1", "b1"), "betas[0], as in betas=(0.9, 0.999)"),
    **dict.fromkeys(("beta2", "b2"), "betas[1], as in betas=(0.9, 0.999)"),
    "beta3": "betas[2]",
    **dict.fromkeys(("clipnorm", "globalclipnorm", "maxgradnorm", "clipgradnorm", "gradclip"), "mods=[ClipNorm(1.0)]"),
    **dict.fromkeys(("clipvalue", "gradclipvalue"), "mods=[ClipValue(1.0)]"),
    **dict.fromkeys(("useema", "ema", "emadecay", "emamomentum"), "mods=[EMA(0.999)]"),
    **dict.fromkeys(("weightdecay", "wd", "decay", "l2"), "mods=[DecoupledDecay(0.01)]"),
    **dict.fromkeys(
        ("weightdecouple", "decoupleddecay", "decoupledweightdecay"),
        "mods=[DecoupledDecay(0.01)], where weight_decay is not decoupled anyway",
    ),
    "l1": "mods=[L1(…)]",
    "lrschedule": "ravine.Scheduler(opt, lr=…)",
}


def called_here(name: str, known: Mapping[str, Any]) -> str:
    """What another library's name of a hyperparameter is here, to begin the rest of an error with; or nothing."""
    if any(plain(k) == plain(name) for k in known):
        return ""  # differs in dashes or case only; `hint` covers that
    place = PLACES.get(plain(name), "")
    if place.startswith("betas") and "betas" in known:
        return f"here it is {place}. "
    for here in ELSEWHERE.get(plain(name), ()):
        if here in known:
            return f"here it is {here}. "
    return f"here it is {place}. " if place and not place.startswith("betas") else ""


def settle(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given hyperparameters, each of its field's type and in its range, or an error that says what to write."""
    known = fields(cls)
    for name in given:
        if name not in known:
            said = called_here(name, known) or hint(name, known, least=0.6)
            raise TypeError(f"{cls.__name__} has no '{name}': {said}It takes {', '.join(known)}")
    out = {name: value_of(f"{cls.__name__}: {name}", known[name][0], value) for name, value in given.items()}
    if out.get("differentiable"):
        raise ValueError(f"{cls.__name__}: differentiable=True is not possible: a compiled step has no autograd graph")
    for name, value in out.items():
        parts = enumerate(value) if isinstance(value, tuple) else [(None, value)]
        for at, x in parts:
            part = name if at is None else f"{name}[{at}]"
            ranges = INTERVALS | dict(getattr(cls, "ranges", {}))
            within(cls.__name__, part, ranges.get(part, ranges.get(name, "[0, inf)")), x)
    return out


INTERVALS = {"betas": "[0, 1)"}  # of tuples and floats by name; all others are "[0, inf)" unless the class says


def value_of(what: str, kind: Any, value: Any) -> Any:
    """`value` as the annotated type `kind`, or a TypeError that names both."""
    kind = as_tuple(kind)
    options = get_args(kind)
    if NoneType in options:
        rest = [x for x in options if x is not NoneType]
        return value if value is None or len(rest) > 1 else value_of(what, rest[0], value)
    if get_origin(kind) is Literal:
        if isinstance(value, Tensor) or value not in options:
            raise ValueError(f"{what} is {told(value)}; it must be one of {', '.join(map(repr, options))}")
        return options[options.index(value)]
    if kind is float or (float in options and get_origin(kind) is not tuple):
        if isinstance(value, Tensor) and Tensor in options:
            if value.numel() != 1:
                raise ValueError(f"{what} is a tensor of {value.numel()} elements; it must have one")
            if value.is_complex() or not has_memory(value):
                raise ValueError(f"{what} is {told(value)}, which holds no real number")
            return value
        if isinstance(value, Tensor) and value.numel() == 1 and has_memory(value):
            value = value.item()
        if isinstance(value, bool | Tensor) or (not isinstance(value, int | float) and not hasattr(value, "__float__")):
            also = "; a schedule goes into ravine.Scheduler(opt, …)" if callable(value) else ""
            also = "" if isinstance(value, type) else also
            raise TypeError(f"{what} is {told(value)}; it must be a number{also}")
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{what} is {told(value)}, which is too large for a float") from None
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple | list) or (options[-1] is not Ellipsis and len(value) != len(options)):
            numbers = options[0] is float or float in get_args(options[0])
            kind = "numbers" if numbers else f"{options[0].__name__} objects"
            wanted = kind if options[-1] is Ellipsis else f"{len(options)} {kind}"
            one = value if isinstance(value, type) else type(value)
            if not numbers and issubclass(one, options[0]):
                raise TypeError(f"{what} is one {one.__name__}; write {what.split()[-1]}=[{one.__name__}(…)]")
            raise TypeError(f"{what} is {told(value)}; it must be a list or tuple of {wanted}")
        kinds = options[:1] * len(value) if options[-1] is Ellipsis else options
        return tuple(value_of(f"{what}[{i}]", kinds[i], x) for i, x in enumerate(value))
    if isinstance(kind, type) and kind not in (bool, int, float, str) and not isinstance(value, kind):
        if isinstance(value, type) and issubclass(value, kind):
            raise TypeError(f"{what} is the class {value.__name__}; make one: {value.__name__}(…)")
        raise TypeError(f"{what} is {told(value)}; it must be a {kind.__name__}")
    if kind is bool and not isinstance(value, bool):
        raise TypeError(f"{what} is {told(value)}; it must be True or False")
    return integer(what, value) if kind is int else value


def integer(what: str, value: Any) -> int:
    """A whole number of any library as Python's own, which every checkpoint can hold, or an error."""
    if isinstance(value, bool | Tensor) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} is {told(value)}; it must be a whole number")
    made = index(value)
    if abs(made) >= 2**64:
        raise ValueError(f"{what} is {told(made)}; it must be a whole number of 64 bits")
    return made


def within(owner: str, name: str, interval: str, x: Any) -> None:
    """Raise unless the number x lies in an interval written as "[0, 1)"."""
    if isinstance(x, bool) or not isinstance(x, float | Tensor):
        return
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = x >= low if interval[0] == "[" else x > low
    below = x <= high if interval[-1] == "]" else x < high
    if math.isnan(x) or not (above and below):
        raise ValueError(f"{owner}: {name} is {float(x):g}; it must lie in {interval}")
