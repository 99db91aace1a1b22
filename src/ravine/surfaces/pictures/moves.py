"""How far optimizers move a weight, when the gradients are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.optimizer import Optimizer

Array = NDArray[np.float64]


def moves(rule: type[Optimizer], settings: Sequence[Mapping[str, Any]], gradients: Sequence[float] | Array) -> Array:
    """How far each step goes downhill at a rate of 1: (settings, steps).

        >>> import ravine
        >>> moves(ravine.Momentum, [{"momentum": 0.5}, {"momentum": 0.9}], [1.0, 0.0, 0.0]).round(2).tolist()
        [[1.0, 0.5, 0.25], [1.0, 0.9, 0.81]]

    Each setting is a parameter group with one weight in float64, which is put back to 0 after every step.
    """
    weights = torch.zeros(len(settings), dtype=torch.float64)
    params = [torch.nn.Parameter(w) for w in weights.split(1)]  # in the same memory
    opt = rule([{"params": [p], **given} for p, given in zip(params, settings, strict=True)], lr=1.0)
    for p in params:
        p.grad = torch.zeros_like(p)
    out = np.empty((len(settings), len(gradients)))
    for t, g in enumerate(gradients):
        for p in params:
            p.grad.fill_(float(g))  # pyright: ignore[reportOptionalMemberAccess]
        opt.step()
        out[:, t] = -weights.numpy()
        weights.zero_()
    return out
