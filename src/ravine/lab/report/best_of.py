"""What a search of k trials finds: the tuning that an optimizer needs, as a curve."""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray


def best_of(losses: Sequence[float]) -> list[float]:
    """The expected lowest of k of these n losses, for k = 1 … n: the mean over all subsets of k.

        E_k = Σᵢ v₍ᵢ₎ C(n − i, k − 1) / C(n, k),        v₍₁₎ ≤ v₍₂₎ ≤ … ≤ v₍ₙ₎

    since v₍ᵢ₎ is the lowest of those subsets that hold it and k − 1 of the n − i above it.

    Dodge et al. 2019, Show Your Work    https://arxiv.org/abs/1909.03004    draw the k with replacement; without, as
    here, the estimate is unbiased: Tang et al. 2020    https://arxiv.org/abs/2004.13705
    """
    return (_weights(len(losses)) @ np.sort(losses)).tolist()


def band(losses: Sequence[float], resamples: int = 1000, level: float = 0.95) -> tuple[list[float], list[float]]:
    """A percentile bootstrap interval of `best_of`; too narrow where k comes near n, as Tang et al. show."""
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.choice(np.asarray(losses), (resamples, len(losses))), axis=1) @ _weights(len(losses)).T
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low.tolist(), high.tolist()


def _weights(n: int) -> NDArray[np.float64]:
    """Of each sorted loss (column) in the expectation for each k (row)."""
    return np.array([[comb(n - i, k - 1) / comb(n, k) for i in range(1, n + 1)] for k in range(1, n + 1)])
