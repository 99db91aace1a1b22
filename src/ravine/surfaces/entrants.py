"""From names, as a person types them, to optimizers with settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ravine.catalog.names import find_to_train
from ravine.optimizer import Optimizer
from ravine.typed import listed


@dataclass(frozen=True)
class Entrant:
    """What runs in a race; a rate among its settings is kept in every mode."""

    name: str
    optimizer: type[Optimizer]
    settings: Mapping[str, Any]


def entrants(names: str) -> list[Entrant]:
    """Of "sgd,momentum,adam:betas=(0.9,0.99):lr=0.1", which is names as `ravine list` has them and settings.

    ValueError where a name is not known or stands twice, or a setting is wrong.
    """
    found = [entrant(written) for written in listed(names)]
    if not found:
        raise ValueError("which optimizers? For example --optimizers sgd,momentum,adam")
    twice = {x.name for x in found if [y.name for y in found].count(x.name) > 1}
    if twice:
        raise ValueError(f"{min(twice)} stands twice among the optimizers; give one of them another setting")
    return found


def entrant(written: str) -> Entrant:
    """One of them."""
    cls, settings = find_to_train(written)
    if not issubclass(cls, Optimizer):
        raise ValueError(f"'{written}' is not derived from ravine.Optimizer; only such classes race")
    return Entrant(written, cls, settings)
