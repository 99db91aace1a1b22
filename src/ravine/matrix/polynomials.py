"""Odd polynomials that bring singular values to 1, each as (a, b, c) of a x + b x³ + c x⁵, one after the other.

`JORDAN` and `MODULA` are repeated. `polar_express` and `cans` are made for an interval [l, 1] in which the singular
values lie, step after step the polynomial of its degree that is nearest to 1 on what the last has left.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch

Polynomial = tuple[float, float, float]

JORDAN: Polynomial = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: steep at 0, and p(1) ≠ 1
MODULA: Polynomial = (3.0, -16 / 5, 6 / 5)  # Bernstein's Modula: p(1) = 1
POLISH: Polynomial = (2.0, -1.5, 0.5)  # p(1) = 1 and p′(1) = 0: the last two steps of DeepSeek V4
TURBO: tuple[Polynomial, ...] = (  # Boissin et al. 2025, after a diagonal rescaling
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


def value(p: Polynomial, x: Any) -> Any:
    """The polynomial at x, a number or the elements of a tensor."""
    a, b, c = p
    return a * x + b * x**3 + c * x**5


def stretched(p: Polynomial, by: float) -> Polynomial:
    """p(x / by): the same for singular values up to `by`."""
    a, b, c = p
    return a / by, b / by**3, c / by**5


def times(p: Polynomial, k: float) -> Polynomial:
    """k p(x)."""
    a, b, c = p
    return k * a, k * b, k * c


def quintic(low: float, high: float) -> Polynomial:
    """The odd quintic nearest to 1 on [low, high], by Remez' exchange: its error is ±E at four places in turn."""
    if low / high >= 1 - 5e-6:  # where the equations can no longer be solved: their limit
        return 15 / 8 / high, -10 / 8 / high**3, 3 / 8 / high**5
    inner, error = [(3 * low + high) / 4, (low + 3 * high) / 4], math.inf
    while True:
        x = torch.tensor([low, *inner, high], dtype=torch.float64)
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
        found = torch.linalg.solve(torch.stack([x, x**3, x**5, signs], 1), torch.ones_like(x))
        a, b, c, now = found.tolist()
        if math.fabs(now - error) <= 1e-15:
            return a, b, c
        error, between = now, math.sqrt(9 * b * b - 20 * a * c)  # of the places where p′ is 0
        inner = [math.sqrt((-3 * b - between) / (10 * c)), math.sqrt((-3 * b + between) / (10 * c))]


def cubic(low: float, high: float) -> Polynomial:
    """The odd cubic nearest to 1 on [low, high]: equal at both ends, and as far above 1 between them as below there."""
    s = low * low + low * high + high * high
    top, end = 2 * (s / 3) ** 1.5, low * high * (low + high)
    return 2 * s / (top + end), -2 / (top + end), 0.0


@cache
def polar_express(steps: int, low: float = 1e-3, cushion: float = 0.02, safety: float = 1.01) -> tuple[Polynomial, ...]:
    """Amsel et al. 2025, Algorithm 1: the best quintic of each step for singular values from `low` to 1.

    No step is made for less than `cushion` of the largest singular value, so that none is too steep, and all but the
    last leave room for rounding: they take values up to `safety`. The defaults are those of the authors' code.
    cushion=0.02407327424182761, safety=1 gives the paper's table of eight, and safety=1.02 that of five in the
    speedruns of NanoGPT.
    """
    made: list[Polynomial] = []
    high = 1.0
    for step in range(steps):
        p = quintic(max(low, cushion * high), high)
        if cushion * high > low:
            p = times(p, 2 / (value(p, low) + value(p, high)))
        made.append(p if step == steps - 1 else stretched(p, safety))
        low = value(made[-1], low)
        high = 2 - low
    return tuple(made)


@cache
def cans(steps: int, low: float = 1e-3) -> tuple[Polynomial, ...]:
    """Grishina et al. 2025: the best cubic of each step, for singular values from `low` to 1."""
    made: list[Polynomial] = []
    high = 1.0
    for _ in range(steps):
        p = cubic(low, high)
        made.append(p)
        low = value(p, low)
        high = 2 - low
    return tuple(made)
