"""What a search of k trials finds: what the verdict is about, and the tuning that an optimizer needs, as a curve.

A search of k trials keeps the one with the lowest validation loss. The n trials of a method hold many such searches:
their mean over all subsets of k is unbiased and uses every trial.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def best_of(losses: Sequence[float]) -> list[float]:
    """The expected lowest of k of these n losses, for k = 1 … n: the mean over all subsets of k.

        E_k = Σᵢ v₍ᵢ₎ C(n − i, k − 1) / C(n, k),        v₍₁₎ ≤ v₍₂₎ ≤ … ≤ v₍ₙ₎

    since v₍ᵢ₎ is the lowest of those subsets that hold it and k − 1 of the n − i above it.

    Dodge et al. 2019, Show Your Work    https://arxiv.org/abs/1909.03004    draw the k with replacement; without, as
    here, the estimate is unbiased: Tang et al. 2020    https://arxiv.org/abs/2004.13705
    """
    return (_for_each_k(len(losses)) @ np.sort(losses)).tolist()


def band(losses: Sequence[float], resamples: int = 1000, level: float = 0.95) -> tuple[list[float], list[float]]:
    """A percentile bootstrap interval of `best_of`; too narrow where k comes near n, as Tang et al. show."""
    rng, n = np.random.default_rng(0), len(losses)
    drawn = np.sort(rng.choice(np.asarray(losses), (resamples, n)), axis=1) @ _for_each_k(n).T
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low.tolist(), high.tolist()


def pseudo_values(chosen_by: Sequence[float], values: Floats, k: int) -> Floats:
    """What each trial adds to the expected value of the trial that a search of k keeps, the one with the lowest
    `chosen_by`. `values` are a number for each trial, or a row of numbers.

        n θ − (n − 1) θ₋ᵢ        θ = Σᵢ x₍ᵢ₎ C(n − i, k − 1) / C(n, k),  x in the order of `chosen_by`

    Their mean is θ, and their variance / n estimates that of θ, which is a U-statistic: the jackknife of
    Arvesen 1969    https://doi.org/10.1214/aoms/1177697287. For k = 1 they are the values themselves. A search of all
    trials leaves none to compare with: k is n − 1 at most.
    """
    n, order = len(values), np.argsort(chosen_by, kind="stable")
    x, k = values[order], min(k, n - 1)
    if n == 1:
        return values
    whole, less = _weights(n, k) @ x, _weights(n - 1, k)
    by = less.reshape(-1, *[1] * (x.ndim - 1))
    zero = np.zeros_like(x[:1])
    before = np.concatenate([zero, np.cumsum(by * x[:-1], axis=0)])  # those ranked before a trial keep their rank
    after = np.concatenate([np.cumsum((by * x[1:])[::-1], axis=0)[::-1], zero])  # those after it go up by one
    out = np.empty_like(x)
    out[order] = n * whole - (n - 1) * (before + after)
    return out


def _for_each_k(n: int) -> Floats:
    return np.array([_weights(n, k) for k in range(1, n + 1)])


def _weights(n: int, k: int) -> Floats:
    """In the expectation, of each trial by its rank."""
    return np.array([comb(n - i, k - 1) / comb(n, k) for i in range(1, n + 1)])
