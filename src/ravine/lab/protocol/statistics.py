"""What a comparison can show: simultaneous intervals for the differences of methods, and letters for what is level.

Methods are compared by what they gave with the same seeds. What such pairs differ by holds the luck of the search, of
first weights and of batches. The rows that a loss is taken over are the same in all runs, and a difference owes
something to these rows too. Both are in every interval.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from statistics import fmean, variance

import networkx
import numpy
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr

LEVEL = 0.05  # among methods that are alike, some are called distinct in at most this share of comparisons

Floats = NDArray[numpy.float64]


@dataclass(frozen=True)
class Sample:
    """What one method gave: a value for each seed, and where known those over parts of the rows for each seed; all
    samples have the same parts."""

    values: Sequence[float]
    parts: Floats | None = None


@dataclass(frozen=True)
class Difference:
    """The second mean less the first, and its interval: all intervals of a comparison hold at once, 95 %."""

    mean: float
    half: float  # of the interval's width; a true difference as large is found in half of such comparisons

    @property
    def low(self) -> float:
        """Where the interval begins."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """Where it ends."""
        return self.mean + self.half

    @property
    def distinct(self) -> bool:
        """Whether the interval excludes 0."""
        return abs(self.mean) > self.half


def differences(samples: Sequence[Sample]) -> dict[tuple[int, int], Difference]:
    """Of all pairs (first, second), first < second, of samples with the same seeds: Games and Howell's procedure, where
    each pair has a variance of its own, on paired values, and with what is owed to the rows. Samples that differ in
    size are independent: s²/n is then the sum of both, as the authors have it.

        d ± q(k, ν) / √2 · √V        V = s²/n + r²        ν = V² / ((s²/n)²/(n − 1) + r⁴/(b − 1))

    s² is the variance of the n differences, r² is `rows`, q the quantile of the studentized range of k methods, ν
    Satterthwaite's number. Of two methods, and without rows, it is the paired t-test.
    Games & Howell 1976    https://doi.org/10.3102/10769986001002113
    """
    return {(i, j): _difference(samples[i], samples[j], len(samples))
            for i, j in combinations(range(len(samples)), 2)}  # fmt: skip


def _difference(first: Sample, second: Sample, methods: int) -> Difference:
    if len(first.values) == len(second.values):
        drawn = [[b - a for a, b in zip(first.values, second.values, strict=True)]]
    else:
        drawn = [first.values, second.values]
    mean = fmean(second.values) - fmean(first.values)
    if min(map(len, drawn)) < 2:
        return Difference(mean, math.inf)
    owed = [(variance(x) / len(x), len(x) - 1) for x in drawn]
    if first.parts is not None and second.parts is not None and first.parts.shape[1] > 1:
        owed.append((rows(second.parts - first.parts), first.parts.shape[1] - 1))
    whole = sum(part for part, _ in owed)
    if whole == 0:
        return Difference(mean, 0.0)
    freedom = round(whole * whole / sum(part * part / n for part, n in owed), 1)
    return Difference(mean, studentized_range(methods, freedom) / math.sqrt(2) * math.sqrt(whole))


def rows(x: Floats) -> float:
    """The variance that the mean of x (n seeds, b parts of the rows) owes to the rows.

        r² = max(0, var x̄ − e²/n) / b        x̄ the means over seeds, e² the mean square of what is left of both

    as in a table whose rows and columns are both drawn; what is left is in the variance of the seeds already.
    Owen & Eckles 2012    https://arxiv.org/abs/1106.2125
    """
    n, b = x.shape
    left = x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()
    residual = float((left * left).sum()) / ((n - 1) * (b - 1))
    return max(0.0, float(numpy.var(x.mean(0), ddof=1)) - residual / n) / b


@cache
def studentized_range(k: int, freedom: float, level: float = LEVEL) -> float:
    """The quantile of the range of k normal numbers by a deviation with so many degrees of freedom. SciPy has it too,
    a hundred times slower."""
    at, inside = _ranges(k)
    ranks = (numpy.arange(2000) + 0.5) / 2000
    deviations = numpy.sqrt(chdtri(freedom, ranks) / freedom)
    low, high = 0.0, 1e4
    while high - low > 1e-6 * high:
        q = (low + high) / 2
        below = float(numpy.interp(q * deviations, at, inside).mean())
        low, high = (q, high) if below < 1 - level else (low, q)
    return high


@cache
def _ranges(k: int) -> tuple[Floats, Floats]:
    """Of the range of k normal numbers: where, and the probability to stay below it."""
    at, z = numpy.linspace(0, 14, 700), numpy.linspace(-8, 22, 1500)
    density = numpy.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    return at, k * (ndtr(z) - ndtr(z - at[:, None])) ** (k - 1) @ density


def letters(n: int, distinct: Collection[tuple[int, int]]) -> list[str]:
    """Of n methods in their order: those that share a letter cannot be told apart, those of a distinct pair share none.

    A letter is a largest set of methods that are all level with one another, as in Piepho 2004's compact letter display
    (https://doi.org/10.1198/1061860043515).
    """
    level = networkx.Graph()
    level.add_nodes_from(range(n))
    level.add_edges_from(pair for pair in combinations(range(n), 2) if pair not in distinct)
    cliques = sorted(sorted(clique) for clique in networkx.find_cliques(level))
    return ["".join(letter(n) for n, clique in enumerate(cliques) if i in clique) for i in range(n)]


def letter(n: int) -> str:
    """a … z, A … Z, then numbers: more than anybody compares."""
    names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return names[n] if n < len(names) else f"({n})"
