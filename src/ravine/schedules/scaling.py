"""What becomes of hyperparameters when the batch becomes larger, and the number of epochs stays."""

from __future__ import annotations

import math
from typing import Any


def linear(lr: float, batch: int, base: int) -> float:
    """SGD's rate for a batch of `batch`, where `lr` is right for one of `base`: in proportion.

        lr ← κ lr,    κ = batch / base

        >>> from ravine.schedules import scaling
        >>> scaling.linear(0.1, batch=8192, base=256)
        3.2

    κ small steps along gradients that hardly change are one step along their mean that is κ times as long. It holds
    until gradients do change in that time: with a warm-up up to batches of about 8k on ImageNet. Momentum stays.

    Krizhevsky 2014, section 5    https://arxiv.org/abs/1404.5997
    Goyal et al. 2017, section 2.1    https://arxiv.org/abs/1706.02677
    """
    return lr * factor(batch, base)


def square_root(lr: float, batch: int, base: int) -> float:
    """A rate that keeps the variance of a step: in proportion to the root.

        lr ← √κ lr,    κ = batch / base

        >>> from ravine.schedules import scaling
        >>> scaling.square_root(1e-3, batch=4096, base=256)
        0.004

    Theory had this for SGD, where in practice the linear rule is better (Krizhevsky says both); it is the rule for
    LAMB and for adaptive methods, of whose step the gradient's size is no part. `adam` has what goes with it.

    Krizhevsky 2014, section 5    https://arxiv.org/abs/1404.5997
    You et al. 2020 (LAMB), section 4    https://arxiv.org/abs/1904.00962
    """
    return lr * math.sqrt(factor(batch, base))


def adam(
    lr: float, batch: int, base: int, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> dict[str, Any]:
    """Adam's hyperparameters for a batch of `batch`, where these are right for one of `base`.

        lr ← √κ lr      1 − βᵢ ← κ (1 − βᵢ)      ε ← ε / √κ        κ = batch / base

        >>> import ravine, torch
        >>> from ravine.schedules import scaling
        >>> opt = ravine.Adam([torch.nn.Parameter(torch.zeros(3))], **scaling.adam(1e-3, batch=1024, base=256))
        >>> opt.defaults["lr"], round(opt.defaults["betas"][0], 6)
        (0.002, 0.6)

    Both then follow one stochastic differential equation, as the noise is what matters: averages are as long in
    samples as they were. Raises ValueError where the batch is so large that an average would be shorter than a step.

    Malladi et al. 2022, section 5    https://arxiv.org/abs/2205.10287
    """
    k = factor(batch, base)
    scaled = tuple(1 - k * (1 - beta) for beta in betas)
    if min(scaled) < 0:
        most = math.floor(base / (1 - min(betas)))
        raise ValueError(f"adam: betas {betas} of a batch of {base} allow one of {most} at most, not {batch}")
    return {"lr": math.sqrt(k) * lr, "betas": scaled, "eps": eps / math.sqrt(k)}


def factor(batch: int, base: int) -> float:
    """κ: how many times larger the batch is."""
    if batch <= 0 or base <= 0:
        raise ValueError(f"batch is {batch} and base is {base}; both must be above 0")
    return batch / base
