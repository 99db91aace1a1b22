"""Is a number the derivative of a function at zero? Central differences, and what kinks and rounding leave open."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

STEPS = ((1e-4, 1e-5), (1e-5, 1e-6), (1e-6, 1e-7), (1e-7, 1e-8), (1e-3, 1e-4), (1e-2, 1e-3))
"""Pairs of steps, in the order they are tried: smaller ones, before which a kink may lie, then larger ones, for
functions that compute in float32 inside and are all noise at small steps."""


class Difference(NamedTuple):
    value: float
    verdict: str  # "right", "wrong" or "undecided"


def compare(
    f: Callable[[float], Tensor], here: Tensor, backward: float, typical: float, rounding: float, tolerance: float
) -> Difference:
    """Compare `backward` with the derivative at zero of the sum of f's elements.

        n(h) = Σ (f(h) − f(−h)) / 2h,        b(h) = Σ |f(h) + f(−h) − 2 f(0)| / h

    An element that is linear but for a kink between 0 and ±h moves n by half of what it moves b. So a gap between
    `backward` and n(h) is an error only if it is larger than b(h), which goes to zero with h unless zero itself is on a
    kink, and larger than what n changes by from one step to a smaller one, which is how noise shows. Numbers that were
    rounded to float32 stand still below their last bit, and only large steps tell that from a derivative of zero.

    here: f(0).
    typical: how large such a derivative usually is: a gap is relative to this, too.
    rounding: how wrong the sum may be.
    """
    seen: dict[float, tuple[float, float]] = {}

    def at(h: float) -> tuple[float, float]:
        if h not in seen:
            right, left = f(h), f(-h)
            bend = (right - here) - (here - left)
            seen[h] = (right - left).sum().item() / (2 * h), bend.abs().sum().item() / h
        return seen[h]

    best, least, largest = Difference(float("nan"), "undecided"), float("inf"), STEPS[-1][0]
    for large, small in STEPS:
        (coarse, _), (n, bend) = at(large), at(small)
        noise, size = 3 * rounding / small, max(abs(n), abs(backward), typical)
        if noise > 0.01 * max(size, abs(coarse)) and small < STEPS[0][1]:
            continue  # anything would pass
        gap, passing = abs(n - backward), tolerance * size + noise
        if gap <= passing:
            return Difference(n, "right")
        if n == bend == 0 and (any(at(largest)) or abs(backward) * largest <= 1e-6 * here.abs().max().item()):
            continue  # a step of float32: it must be flat all over, and be seen not to be
        doubt = 3 * abs(n - coarse) + bend
        if n == n and not gap <= passing + doubt:  # also where backward is not a number and f is
            return Difference(n, "wrong")
        if doubt < least:
            close = gap <= doubt <= 0.01 * max(abs(n), typical)
            least, best = doubt, Difference(n, "right" if close else "undecided")
    return best
