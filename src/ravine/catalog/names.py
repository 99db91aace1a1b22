"""From what a person types to a method: case, dashes, underscores and spaces do not count."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from ravine.catalog.errors import CatalogError
from ravine.optim import registry
from ravine.optimizer import Optimizer

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
    "decoupled-adam": ("adamw", {}),
    "adam-decoupled": ("adamw", {}),
}


def plain(typed: str) -> str:
    """A name without case, dashes, underscores, dots and spaces."""
    return "".join(letter for letter in typed.lower() if letter.isalnum())


def find(typed: str) -> tuple[type[Optimizer], dict[str, Any]]:
    """The class that `typed` names, and the hyperparameters that the name implies.

    >>> from ravine.catalog.names import find
    >>> find("RMS-prop"), find("sgd_momentum")
    ((<class 'ravine.optim.rmsprop.RMSprop'>, {}), (<class 'ravine.optim.sgd.SGD'>, {'momentum': 0.9}))
    """
    known = registry()
    called = {plain(name): (cls, {}) for name, cls in known.items()}
    other = {plain(name): (known[of], dict(hyper)) for name, (of, hyper) in ALIASES.items() if of in known}
    found = (other | called).get(plain(typed))
    if found is None:
        written = {plain(name): name for name in ALIASES} | {plain(name): name for name in known}
        near = [written[x] for x in get_close_matches(plain(typed), other | called, 3, 0.5)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise CatalogError(f"unknown optimizer '{typed}': {hint}`ravine list` has them all")
    return found
