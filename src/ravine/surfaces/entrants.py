"""From names, as a person types them, to optimizers with settings."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ravine.catalog.names import find
from ravine.hyper import settle
from ravine.optimizer import Optimizer


@dataclass(frozen=True)
class Entrant:
    """What runs in a race; a rate among its settings is kept in every mode."""

    name: str
    optimizer: type[Optimizer]
    settings: Mapping[str, Any]


def entrants(names: str) -> list[Entrant]:
    """Of "sgd,momentum,adam:betas=(0.9,0.99):lr=0.1", which is names as `ravine list` has them and settings.

    ValueError where a name is not known or stands twice; TypeError or ValueError where a setting is wrong.
    """
    found = [entrant(written.strip()) for written in re.split(r",(?![^(]*\))", names) if written.strip()]
    if not found:
        raise ValueError("which optimizers? For example --optimizers sgd,momentum,adam")
    twice = {x.name for x in found if [y.name for y in found].count(x.name) > 1}
    if twice:
        raise ValueError(f"{min(twice)} stands twice among the optimizers; give one of them another setting")
    return found


def entrant(written: str) -> Entrant:
    """One of them."""
    name, *said = written.split(":")
    cls, implied = find(name)
    settings = dict(implied)
    for text in said:
        field, equals, value = text.partition("=")
        if not (field and equals and value):
            raise ValueError(f"{written!r}: {text!r} is no FIELD=VALUE, such as lr=0.1")
        try:
            settings[field] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[field] = value
    return Entrant(written, cls, settle(cls, settings))
