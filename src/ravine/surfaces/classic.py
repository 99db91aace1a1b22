"""The two classic animations: how many steps, and at which rates they show what they are known for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Classic:
    """An animation on a surface, from its own start."""

    steps: int
    rates: Mapping[str, float]  # of each optimizer, in the order in which they are drawn


# By the name of their surface. Radford 2014 does not tell his rates; these show what Ruder 2016, section 4.10, says of
# his pictures: https://arxiv.org/abs/1609.04747
CLASSIC = {
    "beale": Classic(
        300, {"sgd": 0.001, "momentum": 0.002, "nag": 0.002, "adagrad": 0.4, "adadelta": 20.0, "rmsprop": 0.03}
    ),
    "saddle": Classic(
        110, {"sgd": 0.02, "momentum": 0.02, "nag": 0.02, "adagrad": 0.2, "adadelta": 1.0, "rmsprop": 0.02}
    ),
}
