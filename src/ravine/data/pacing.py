"""How fast a curriculum goes on: the share of the data that is open after so many epochs.

A pace is any function from epochs, such as 2.5, to a share in (0, 1]. Those here begin with the share b = `start` and
open everything after a = `over` epochs. Most are of one family (Wu, Dyer & Neyshabur 2021), in x = t / a:

    share(t) = b + (1 − b) f(x)  for x < 1, and 1 from there on
    linear  x     quadratic  x²     root  √x     step  0     exponential  (e¹⁰ˣ − 1) / (e¹⁰ − 1)
    logarithmic  1 + ln(x + e⁻¹⁰) / 10

    https://arxiv.org/abs/2012.03107
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

Pace = Callable[[float], float]


def linear(over: float, start: float = 0.1) -> Pace:
    """As much more in each epoch.

    >>> pace = linear(over=10, start=0.2)
    >>> [round(pace(t), 2) for t in (0, 5, 10, 20)]
    [0.2, 0.6, 1.0, 1.0]
    """
    return family(power, over, start)


def quadratic(over: float, start: float = 0.1) -> Pace:
    """Slowly at first: long among the easy ones."""
    return family(partial(power, p=2.0), over, start)


def root(over: float, start: float = 0.1) -> Pace:
    """Fast at first: soon among most of the data."""
    return family(partial(power, p=0.5), over, start)


def step(over: float, start: float = 0.1) -> Pace:
    """The easy part alone, then everything: the first curriculum, and Hacohen & Weinshall's single step.

    Bengio, Louradour, Collobert & Weston 2009    https://doi.org/10.1145/1553374.1553380
    """
    return family(closed, over, start)


def exponential(over: float, start: float = 0.1) -> Pace:
    """Next to nothing for long, and the most at the end."""
    return family(exponent, over, start)


def logarithmic(over: float, start: float = 0.1) -> Pace:
    """The most at the very beginning."""
    return family(logarithm, over, start)


def competence(over: float, start: float = 0.1, p: float = 2.0) -> Pace:
    """(x (1 − bᵖ) + bᵖ)^(1/p): new samples come in step with how many there are; p = 2 is often called the root pace.

    Platanios et al. 2019    https://arxiv.org/abs/1903.09848
    """
    checked(over, start)
    return partial(competent, over=over, start=start, p=p)


def staircase(every: float, increase: float, start: float = 0.1) -> Pace:
    """start · increaseⁱ in the i-th stretch of `every` epochs, until it is all: "fixed exponential pacing".

    Hacohen & Weinshall 2019    https://arxiv.org/abs/1904.03626
    """
    checked(every, start)
    if increase <= 1:
        raise ValueError(f"increase is {increase!r}; it must be above 1, so that all data are open in the end")
    return partial(stairs, every=every, increase=increase, start=start)


# what the paces are made of: functions of the module, so that samplers can be sent to other processes


def family(f: Callable[[float], float], over: float, start: float) -> Pace:
    checked(over, start)
    return partial(share, f=f, over=over, start=start)


def checked(epochs: float, start: float) -> None:
    if not epochs > 0 or not 0 < start <= 1:
        raise ValueError(f"a pace takes epochs above 0 and a start in (0, 1], not {epochs!r} and {start!r}")


def share(t: float, *, f: Callable[[float], float], over: float, start: float) -> float:
    return 1.0 if t >= over else min(1.0, start + (1 - start) * f(t / over))


def power(x: float, p: float = 1.0) -> float:
    return x**p


def closed(x: float) -> float:
    return 0.0


def exponent(x: float) -> float:
    return math.expm1(10 * x) / math.expm1(10)


def logarithm(x: float) -> float:
    return 1 + math.log(x + math.exp(-10)) / 10


def competent(t: float, *, over: float, start: float, p: float) -> float:
    return 1.0 if t >= over else (t / over * (1 - start**p) + start**p) ** (1 / p)


def stairs(t: float, *, every: float, increase: float, start: float) -> float:
    return min(1.0, start * increase ** min(t // every, 1000.0))
