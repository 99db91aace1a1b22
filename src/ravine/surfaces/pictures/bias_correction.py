"""Bias correction: what it multiplies by, and what steps are without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ravine.optim import Adam
from ravine.surfaces.pictures.averages import averaged
from ravine.surfaces.pictures.moves import Array, moves
from ravine.visuals import ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.9, 0.99, 0.999)
STEPS = 10_000


def factors(steps: int = STEPS) -> Array:
    """1 / (1 − βᵗ) at steps 1, 2, 3 … for each of BETAS: an average that is corrected, over the same as it is."""
    ones = np.ones(steps)
    return averaged(BETAS, ones, True) / averaged(BETAS, ones, False)


def lengths(steps: int = STEPS) -> Array:
    """Adam's steps on a gradient of 1, with the correction and, for each β₂ of BETAS, without it."""
    settings = [{"betas": (0.9, beta2), "eps": 0.0, "bias_correction": False} for beta2 in BETAS]
    return moves(Adam, [{"eps": 0.0}, *settings], np.ones(steps))


def bias_correction() -> Figure:
    """Adam's bias correction 1 / (1 − βᵗ), and its steps on a constant gradient without it

    Averages that begin at 0 are too small at first: m for about 1 / (1 − β₁) steps, v for 1 / (1 − β₂). Corrected, a
    step is as long as ever from the first one on; otherwise the root of v is too small for longer than m is, and steps
    are several times too long.

    Kingma & Ba 2015, section 3    https://arxiv.org/abs/1412.6980
    """
    from ravine.visuals.charts import Chart, Curve, charts  # matplotlib

    t = np.unique(np.geomspace(1, STEPS, 300).round()).astype(int)
    names = ["corrected", *(f"not, β₂ = {beta}" for beta in BETAS)]
    scale = [
        Curve(f"β = {beta}", ink(i), t, y[t - 1]) for i, (beta, y) in enumerate(zip(BETAS, factors(), strict=True), 1)
    ]
    steps = [Curve(name, ink(i), t, y[t - 1]) for i, (name, y) in enumerate(zip(names, lengths(), strict=True))]
    return charts(
        [
            Chart("1 / (1 − βᵗ): what averages are multiplied by", "step", scale, log=(True, True)),
            Chart("length of Adam's steps on a gradient of 1, β₁ = 0.9", "step", steps, log=(True, False)),
        ]
    )
