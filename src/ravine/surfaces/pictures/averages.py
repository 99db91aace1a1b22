"""Exponential averages of a signal in noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ravine.optim import RAdam
from ravine.surfaces.pictures.moves import Array, moves
from ravine.visuals import ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.5, 0.9, 0.98)
STEPS = 200


def signal(steps: int = STEPS) -> tuple[Array, Array]:
    """Something slow, and what is seen of it: with noise of standard deviation 0.3."""
    t = np.arange(steps)
    slow = 1 + 0.5 * np.sin(t / 30)
    return slow, slow + np.random.default_rng(0).normal(0, 0.3, steps)


def averaged(betas: Sequence[float], values: Array, corrected: bool) -> Array:
    """The exponential average of the values so far, after each of them, for each β: (betas, values).

    They are gradients to RAdam, which steps by their average alone while its threshold is not reached: here never.
    """
    settings = [{"betas": (beta, 0.999), "threshold": 1e9, "bias_correction": corrected} for beta in betas]
    return moves(RAdam, settings, values)


def averages() -> Figure:
    """Exponential averages of a noisy signal, with and without bias correction

    m ← β m + (1 − β) g is an average of about the last 1 / (1 − β) values: the larger β, the less noise, and the later
    it follows. It begins at 0; divided by 1 − βᵗ it is right from the first value on.

    Kingma & Ba 2015, section 3    https://arxiv.org/abs/1412.6980
    """
    from ravine.visuals.charts import Chart, Curve, charts  # matplotlib

    slow, seen = signal()
    t = np.arange(1, STEPS + 1)
    both = list[Chart]()
    for title, corrected in (("m, as it is", False), ("m / (1 − βᵗ)", True)):
        curves = [Curve("", ink(6), t, seen, points=True), Curve("signal", ink(6), t, slow)]
        made = zip(BETAS, averaged(BETAS, seen, corrected), strict=True)
        curves += [Curve(f"β = {beta}", ink(i), t, y) for i, (beta, y) in enumerate(made)]
        both.append(Chart(title, "step", curves))
    return charts(both)
