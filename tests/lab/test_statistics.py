"""The numbers of a textbook, and what they let one say."""

import math
from itertools import combinations

import numpy
import pytest
from scipy import stats

from ravine.lab.protocol.best_of import pseudo_values
from ravine.lab.protocol.statistics import Sample, differences, letters, rows, studentized_range

A, B = [1.0, 2.0, 3.0, 4.0, 5.0], [1.5, 2.4, 3.9, 4.1, 5.6]


def test_two_methods_are_compared_by_the_paired_t_test():
    found = differences([Sample(A), Sample(B)])[0, 1]
    wanted = stats.ttest_rel(B, A).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-4)
    assert found.distinct and found.mean == pytest.approx(0.5)
    shift = [10.0, -3.0, 100.0, 0.0, 7.0]  # what a seed does to both
    moved = differences([Sample([a + s for a, s in zip(A, shift, strict=True)]),
                         Sample([b + s for b, s in zip(B, shift, strict=True)])])[0, 1]  # fmt: skip
    assert moved.half == pytest.approx(found.half)


@pytest.mark.parametrize("k", [2, 3, 8, 15])
@pytest.mark.parametrize("freedom", [1.5, 3, 6.3, 31, 200])
def test_the_studentized_range_is_scipy_s(k, freedom):
    assert studentized_range(k, freedom) == pytest.approx(stats.studentized_range.ppf(0.95, k, freedom), rel=2e-4)


def test_more_methods_widen_every_interval():
    alone = differences([Sample(A), Sample(B)])[0, 1]
    beside = differences([Sample(A), Sample(B), Sample(A[::-1])])[0, 1]
    assert beside.half > alone.half


@pytest.mark.parametrize("methods", [2, 8])
def test_of_methods_that_are_alike_some_are_distinct_in_one_of_twenty(methods):
    rng, wrong = numpy.random.default_rng(0), 0
    for _ in range(400):
        found = differences([Sample(rng.normal(size=12).tolist()) for _ in range(methods)])
        wrong += any(d.distinct for d in found.values())
    assert 0.02 <= wrong / 400 <= 0.08


def test_the_rows_add_what_a_difference_owes_to_them():
    """x = seed + row + rest: the variance of the mean is that of seeds / n, of rows / b and of the rest / n b."""
    rng, means, owed, seeds = numpy.random.default_rng(1), [], [], []
    for _ in range(600):
        x = 0.3 * rng.normal(size=(8, 1)) + 2.0 * rng.normal(size=(1, 20)) + rng.normal(size=(8, 20))
        means.append(x.mean())
        owed.append(rows(x))
        seeds.append(x.mean(1).var(ddof=1) / 8)
    assert numpy.mean(owed) == pytest.approx(4.0 / 20, rel=0.1)
    assert numpy.mean(owed) + numpy.mean(seeds) == pytest.approx(numpy.var(means), rel=0.15)
    assert rows(numpy.ones((5, 20))) == 0.0


def test_a_difference_of_a_few_rows_is_not_found_by_many_seeds():
    """Two methods that differ, alike in all seeds, by one row of fifty."""
    parts = numpy.zeros((30, 50))
    parts[:, 7] = 1.0
    seeds = numpy.random.default_rng(0).normal(size=30) * 1e-4
    values, other = Sample(list(seeds), parts * 0), Sample([x + 0.02 for x in -seeds], parts)
    assert differences([Sample(values.values), Sample(other.values)])[0, 1].distinct
    assert not differences([values, other])[0, 1].distinct


def test_one_run_shows_nothing():
    (lone,) = differences([Sample([1.0]), Sample([2.0])]).values()
    assert lone.mean == 1.0 and lone.half == math.inf and not lone.distinct
    (same,) = differences([Sample([1.0, 1.0]), Sample([1.0, 1.0])]).values()
    assert same.half == 0.0 and not same.distinct
    assert differences([Sample([1.0, 1.0]), Sample([2.0, 2.0])])[0, 1].distinct


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_pseudo_values_are_the_jackknife_of_the_mean_over_all_searches(k):
    rng = numpy.random.default_rng(k)
    by, x = rng.random(7), rng.random((7, 2))

    def mean(trials):
        return numpy.mean([x[min(pick, key=lambda i: by[i])] for pick in combinations(trials, k)], axis=0)

    wanted = [7 * mean(range(7)) - 6 * mean([j for j in range(7) if j != i]) for i in range(7)]
    found = pseudo_values(by, x, k)
    numpy.testing.assert_allclose(found, wanted)
    numpy.testing.assert_allclose(found.mean(0), mean(range(7)))
    numpy.testing.assert_allclose(pseudo_values(by, x[:, 0], k), found[:, 0])
    assert k > 1 or numpy.allclose(found, x)


def test_the_spread_of_pseudo_values_is_that_of_the_estimate():
    rng, found, claimed = numpy.random.default_rng(3), [], []
    for _ in range(400):
        x = rng.gamma(2.0, size=32)
        values = pseudo_values(x, x, 8)
        found.append(values.mean())
        claimed.append(values.var(ddof=1) / 32)
    assert 0.9 <= numpy.mean(claimed) / numpy.var(found) <= 1.5  # the jackknife errs on the wide side


def test_letters():
    assert letters(3, {(0, 2), (1, 2)}) == ["a", "a", "b"]
    assert letters(1, set()) == ["a"] and letters(0, set()) == []
    assert letters(3, {(0, 2)}) == ["a", "ab", "b"]
