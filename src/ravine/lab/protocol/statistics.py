"""What seeds can show: intervals, paired differences, tests corrected for their number, letters for what is level.

Two methods are compared on the same seeds, that is on the same first weights and batches; what a seed does to both
cancels in the difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean, stdev

import networkx
import numpy
from scipy.special import ndtr, stdtr, stdtrit

LEVEL = 0.05  # what is called distinct is so wrongly in at most this share of comparisons
RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """Of two methods over the same seeds: second minus first."""

    mean: float
    low: float  # the 95 % bootstrap interval
    high: float
    p: float  # of the paired t-test; 1 where it cannot be made
    detectable: float  # a smaller difference could not be seen with these seeds (95 %)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the mean lies, 95 %: Student's t."""
    n, mean = len(values), fmean(values)
    half = math.inf if n < 2 else float(stdtrit(n - 1, 1 - LEVEL / 2)) * stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """How far `second` lies above `first`, seed by seed; all finite."""
    d = [b - a for a, b in zip(first, second, strict=True)]
    if len(d) < 2:
        return Difference(d[0], -math.inf, math.inf, 1.0, math.inf)
    error = stdev(d) / math.sqrt(len(d))
    t = abs(fmean(d)) / error if error > 0 else math.inf if d[0] else 0.0
    seen = float(stdtrit(len(d) - 1, 1 - LEVEL / 2)) * error
    return Difference(fmean(d), *bootstrap(d), p=2 * float(stdtr(len(d) - 1, -t)), detectable=seen)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The expanded percentile interval of the mean, 95 %: all resamples of few values, 10,000 of more.

    The plain percentile interval of few values is too narrow; this one takes percentiles as far out as Student's t
    and the missing √(n/(n - 1)) ask for. Hesterberg 2015, section 4.2    https://arxiv.org/abs/1411.5279
    """
    n, x = len(values), numpy.asarray(values)
    if n**n <= RESAMPLES:
        rows = numpy.array(list(product(range(n), repeat=n)))
    else:
        rows = numpy.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    outside = float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, 1 - LEVEL / 2)))
    low, high = numpy.quantile(x[rows].mean(1), [outside, 1 - outside])
    return float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values, raised for how many there are. Holm 1979    https://www.jstor.org/stable/4615733"""
    out, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        out[i] = highest
    return out


def letters(losses: Sequence[Sequence[float]]) -> list[str]:
    """For methods in their order, all finite: those that share a letter cannot be told apart, all pairs corrected.

    A letter is a largest set of methods that are all level with one another, as in Piepho 2004's compact letter display
    (https://doi.org/10.1198/1061860043515).
    """
    pairs = list(combinations(range(len(losses)), 2))
    corrected = holm([paired(losses[i], losses[j]).p for i, j in pairs])
    level = networkx.Graph()
    level.add_nodes_from(range(len(losses)))
    level.add_edges_from(pair for pair, p in zip(pairs, corrected, strict=True) if p >= LEVEL)
    cliques = sorted(sorted(clique) for clique in networkx.find_cliques(level))
    return ["".join(letter(n) for n, clique in enumerate(cliques) if i in clique) for i in range(len(losses))]


def letter(n: int) -> str:
    """a … z, A … Z, then numbers: more than anybody compares."""
    names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return names[n] if n < len(names) else f"({n})"
