"""From what a person types to a method: case, dashes, underscores and spaces do not count; settings may follow.

Every command and `ravine.create` read names here: `adam`, `Adam`, `nesterov`, `adam:eps=1e-4`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.util import find_spec
from inspect import signature
from typing import Any

import torch

from ravine.catalog.errors import CatalogError
from ravine.cli.answer import own
from ravine.compile.trace import FRESH, inputs
from ravine.optim import registry
from ravine.optimizer import Optimizer
from ravine.rule.hyper import fields, settle
from ravine.rule.mistake import place
from ravine.typed import assigned, hint, nearest, plain

ALIASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # other names: the method and what they say of it
    "gd": ("sgd", {}),
    "gradient-descent": ("sgd", {}),
    "stochastic-gradient-descent": ("sgd", {}),
    "batch-gradient-descent": ("sgd", {}),  # of how many examples g is the mean is the loop's business
    "full-batch-gradient-descent": ("sgd", {}),
    "mini-batch-gradient-descent": ("sgd", {}),
    "vanilla": ("sgd", {}),
    "sgdm": ("sgd", {"momentum": 0.9}),
    "sgd-momentum": ("sgd", {"momentum": 0.9}),
    "sgd-with-momentum": ("sgd", {"momentum": 0.9}),
    "sgd-nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "heavy-ball": ("momentum", {}),
    "polyak": ("momentum", {"form": "polyak"}),
    "nesterov": ("nag", {}),
    "nesterov-momentum": ("nag", {}),
    "nesterov-accelerated-gradient": ("nag", {}),
    "adaptive-gradient": ("adagrad", {}),
    "adagrad-da": ("adagradrda", {}),
    "adagrad-dual-averaging": ("adagradrda", {}),
    "rms": ("rmsprop", {}),
    "centered-rmsprop": ("rmsprop", {"centered": True}),
    "rmsprop-centered": ("rmsprop", {"centered": True}),
    "rmsprop-momentum": ("rmsprop", {"momentum": 0.9}),
    "resilient-propagation": ("rprop", {}),
    "irprop-": ("rprop", {}),
    "rprop-plus": ("rprop", {"backtracking": True}),
    "rprop-backtracking": ("rprop", {"backtracking": True}),
    "adam-amsgrad": ("adam", {"amsgrad": True}),  # torch's form; the paper's is AMSGrad
    "ams": ("amsgrad", {}),
    "adam-inf": ("adamax", {}),
    "adam-infinity": ("adamax", {}),
    "nesterov-adam": ("nadam", {}),
    "adam-nesterov": ("nadam", {}),
    "rectified-adam": ("radam", {}),
    "averaged-sgd": ("asgd", {}),
    "averaged-gradient-descent": ("asgd", {}),
    "aggregated-momentum": ("aggmo", {}),
    "quasi-hyperbolic-momentum": ("qhm", {}),
    "quasi-hyperbolic-adam": ("qhadam", {}),
    "sign-descent": ("signsgd", {}),
    "sign-momentum": ("signum", {}),
    "evolved-sign-momentum": ("lion", {}),
    "schedule-free": ("schedulefreeadamw", {}),
    "schedule-free-adam": ("schedulefreeadamw", {}),
    "sf-adamw": ("schedulefreeadamw", {}),
    "sf-sgd": ("schedulefreesgd", {}),
    "sf-radam": ("schedulefreeradam", {}),
    "sophia": ("sophiag", {}),
    "ekfac": ("kfac", {"ekfac": True}),
    "kronecker-factored-curvature": ("kfac", {}),
    "psgd": ("kron", {}),
    "psgd-kron": ("kron", {}),
    "galore-adamw": ("galore", {}),
    "apollo-adamw": ("apollo", {}),
    "apollo-mini": ("apollo", {"rank": 1, "scale": 128.0, "scale_type": "tensor"}),
    "decoupled-adam": ("adamw", {}),
    "adam-decoupled": ("adamw", {}),
}


ABSENT = (  # methods of the literature that are not here yet: whoever asks for one is told so, and not sent elsewhere
    *("Conda", "Dion", "Fromage", "FTRL", "LOMO"),
    *("Ranger", "SpectralDescent", "VSGD"),
)
ELSEWHERE: Mapping[str, str] = {  # what is no optimizer here: where it is
    "sam": "ravine.strategies.SAM drives any optimizer",
    "asam": "ravine.strategies.SAM(…, adaptive=True) drives any optimizer",
    "gsam": "ravine.strategies.GSAM drives any optimizer",
    "lookahead": "ravine.strategies.Lookahead drives any optimizer",
    "snoo": "ravine.strategies.SNOO drives any optimizer",
    "emanesterov": "any optimizer takes mods=[EMANesterov()] (ravine.mods)",
    "gpa": "any optimizer takes mods=[GPA()] (ravine.mods)",
    "lbfgs": "take torch.optim.LBFGS, which asks its closure several times a step",
    "ema": "any optimizer takes mods=[EMA(0.999)] (ravine.mods)",
    "swa": "any optimizer takes mods=[Averaging()] (ravine.mods)",
}


def find(typed: str) -> tuple[type[Optimizer], dict[str, Any]]:
    """The class that `typed` names, and the hyperparameters that the name implies or that are written after it.

    >>> from ravine.catalog.names import find
    >>> find("RMS-prop"), find("sgd_momentum")
    ((<class 'ravine.optim.rmsprop.RMSprop'>, {}), (<class 'ravine.optim.sgd.SGD'>, {'momentum': 0.9}))
    >>> find("adam:eps=1e-4:betas=(0.9,0.99)")[1]
    {'eps': 0.0001, 'betas': (0.9, 0.99)}
    """
    name, *said = typed.split(":")
    called = _called()
    if plain(name) not in called:
        raise CatalogError(_unknown(name, "`ravine list` has them all"))
    cls, implied = called[plain(name)]
    return cls, dict(implied) | settings(cls, implied, said, typed)


def find_or_own(typed: str) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """As `find`, or somebody's own class at module:Class, as commands take it: the module is imported."""
    name, *rest = typed.split(":")
    if not is_own(typed):
        if plain(name) not in _called():
            raise CatalogError(_unknown(name, "`ravine list` has them all, or your own as module:Class"))
        return find(typed)
    cls = own(f"{name}:{rest[0]}", "optimizer")
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        raise CatalogError(
            f"optimizer '{typed}' must be a class derived from torch.optim.Optimizer or ravine.Optimizer"
        )
    if issubclass(cls, Optimizer):
        _traced(cls, typed)
    return cls, settings(cls, {}, rest[1:], typed)


def find_to_train(typed: str, served: Collection[str] = ()) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """As `find_or_own`, of what a training loop can step that knows the loss and nothing else to give.

    served: names of methods that are given more there.
    """
    cls, said = find_or_own(typed)
    if cls.__name__.lower() not in served and (more := beyond_the_loss(cls)):
        raise CatalogError(
            f"optimizer '{typed}' takes {', '.join(more)}, which this command does not give; train it in a loop"
        )
    return cls, said


def beyond_the_loss(cls: type) -> list[str]:
    """What a rule takes in a step that a plain training loop has not, as the Hessian's diagonal."""
    return [k for k in inputs(cls) if k not in ("loss", FRESH)] if issubclass(cls, Optimizer) else []


def find_rule(typed: str) -> tuple[type[Optimizer], dict[str, Any]]:
    """As `find_or_own`, of what has equations and a plan: a class derived from ravine.Optimizer."""
    cls, said = find_or_own(typed)
    if not issubclass(cls, Optimizer):
        raise CatalogError(f"'{typed}' is not derived from ravine.Optimizer: it has no equations and no plan to show")
    return cls, said


def _traced(cls: type[Optimizer], typed: str) -> None:
    """Raise where somebody's own rule is no rule yet, with the line of their file that is wrong."""
    try:
        cls.equations()
    except Exception as error:  # the person's code runs here
        at = place(cls, error)
        raise CatalogError(f"optimizer '{typed}'{at and f' at {at}'}: {type(error).__name__}: {error}") from error


def written(typed: str, cls: type, said: Mapping[str, Any]) -> str:
    """The one name of what was typed so: of our methods the class in lower case with its settings, else as it was."""
    if is_own(typed):
        return typed
    return ":".join([cls.__name__.lower(), *(f"{k}={x!r}".replace(" ", "") for k, x in said.items())])


def is_own(typed: str) -> bool:
    """Whether `typed` is somebody's own class at module:Class, and not a method with settings, as adam:eps=1e-4.

    A module may be called as a method is, as schedulefree: then a capital says that a class follows.
    """
    name, *rest = typed.split(":")
    return bool(rest) and "=" not in rest[0] and (plain(name) not in _called() or rest[0][:1].isupper())


def _called() -> dict[str, tuple[type[Optimizer], Mapping[str, Any]]]:
    """{plain name: the class and what the name implies}."""
    known = registry()
    other = {plain(x): (known[of], hyper) for x, (of, hyper) in ALIASES.items() if of in known}
    return other | {plain(x): (cls, {}) for x, cls in known.items()}


def settings(
    cls: type, implied: Mapping[str, Any], said: Sequence[str], typed: str, any_name: bool = False
) -> dict[str, Any]:
    """The settings that are written after a name, checked as the class would; `any_name` where it may take others than
    its signature has."""
    try:
        given = dict(assigned(text, "lr=0.1") for text in said)
        if issubclass(cls, Optimizer):
            given = settle(cls, given)
            cls.validate({k: default for k, (_, default) in fields(cls).items()} | dict(implied) | given)
        elif not any_name and (unknown := given.keys() - (takes := signature(cls).parameters)):
            name = min(unknown)
            raise TypeError(f"{cls.__name__} has no '{name}': {hint(name, takes)}It takes {', '.join(takes)}")
    except (TypeError, ValueError) as error:
        raise CatalogError(f"'{typed}': {error}") from error
    return given


def no_name(name: str, known: Iterable[str]) -> str:
    """What to say of `ravine.NAME` that there is not."""
    said = next((f"{x} is not here yet" for x in ABSENT if plain(x) == plain(name)), "")
    if not said and find_spec(f"ravine.{name}"):
        said = f"write `import ravine.{name}` before"
    return f"module 'ravine' has no attribute '{name}': {said or hint(name, known, 3).rstrip() or 'see dir(ravine)'}"


def _unknown(name: str, there: str) -> str:
    """What to say of a name that is not here; `there` is what there is."""
    known = [*ALIASES, *registry()]
    if place := ELSEWHERE.get(plain(name)):
        return f"'{name}' is no rule of its own here: {place}"
    if (near := nearest(name, [*known, *ABSENT], least=0.7)) and near[0] in ABSENT:
        if plain(near[0]) == plain(name):
            return f"unknown optimizer '{name}': {near[0]} is not here yet; `ravine list` has all that are"
        return f"unknown optimizer '{name}': if you mean {near[0]}: it is not here yet. {there}"
    return f"unknown optimizer '{name}': {hint(name, known, 3)}{there}"
