"""RAdam's warm-up: how well the variance is known, and how long its steps are for that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from ravine.compile.emit import host
from ravine.compile.expr import walk
from ravine.optim import RAdam
from ravine.schedules import UntunedWarmup
from ravine.surfaces.pictures.moves import Array, moves
from ravine.visuals import ink

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.9, 0.99, 0.999, 0.9999)
STEPS = 20_000


def rho(beta2: float, steps: Iterable[int]) -> Array:
    """ρ at these steps, from the graph of RAdam's rule: what it compares with its threshold."""
    p = torch.nn.Parameter(torch.zeros(1))
    opt = RAdam([p], betas=(0.9, beta2))
    (group,) = opt.param_groups
    (asked,) = (x for x in walk([opt.compiled(group, p).program.p]) if x.op == "gt")
    number = host.build([asked.src[0]])
    return np.array([number(float(t), {}, group)[0] for t in steps])


def rectification(steps: int = STEPS) -> Array:
    """r at steps 1, 2, 3 … for each of BETAS: the length of a step on a gradient of 1, where Adam's is 1.

    0 where ρ is not above the threshold, and there is no r.
    """
    settings = [{"betas": (0.9, beta2), "eps": 0.0, "fallback": "skip"} for beta2 in BETAS]
    return moves(RAdam, settings, np.ones(steps))


def radam() -> Figure:
    """RAdam's ρ_t and r_t, and the linear warm-up that does as well

    ρ tells how many gradients the second moment is an average of, in effect; from its threshold on steps are rectified
    by r, which grows to 1. Dotted is the warm-up of 2 / (1 − β₂) steps of Ma & Yarats.

    Liu et al. 2020, section 4    https://arxiv.org/abs/1908.03265
    Ma & Yarats 2021    https://arxiv.org/abs/1910.04209
    """
    from ravine.visuals.charts import Chart, Curve, charts  # matplotlib

    t = np.unique(np.geomspace(1, STEPS, 400).round()).astype(int)
    lengths = rectification()[:, t - 1]
    known, steps = list[Curve](), list[Curve]()
    for i, (beta2, r) in enumerate(zip(BETAS, lengths, strict=True)):
        known.append(Curve(f"β₂ = {beta2}", ink(i), t, rho(beta2, t)))
        warm = UntunedWarmup(beta2)
        steps.append(Curve(f"β₂ = {beta2}", ink(i), t, np.where(r > 0, r, np.nan)))
        steps.append(Curve("", ink(i), t, np.array([warm(int(x) - 1) for x in t]), dots=True))
    threshold = RAdam([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["threshold"]
    return charts(
        [
            Chart(
                "ρ: gradients that v is an average of", "step", known, log=(True, True), level=("threshold", threshold)
            ),
            Chart("r: length of a step, Adam's is 1; dotted: linear warm-up", "step", steps, log=(True, False)),
        ]
    )
