"""The numbers of a textbook, and what they let one say."""

import math

import numpy
import pytest

from ravine.lab.protocol.statistics import bootstrap, holm, interval, letters, paired

A, B = [1.0, 2.0, 3.0, 4.0, 5.0], [1.5, 2.4, 3.9, 4.1, 5.6]


def test_the_interval_is_student_s():
    assert interval(B) == pytest.approx((1.5230619, 5.4769381))  # scipy.stats.t.interval(0.95, 4, mean, sem)
    assert interval([1.0]) == (-math.inf, math.inf)


def test_the_paired_test_is_scipy_s_and_forgets_what_a_seed_does_to_both():
    found = paired(A, B)
    assert found.p == pytest.approx(0.018541393)  # scipy.stats.ttest_rel(B, A)
    assert found.mean == pytest.approx(0.5)
    shift = [10.0, -3.0, 100.0, 0.0, 7.0]
    moved = paired([a + s for a, s in zip(A, shift, strict=True)], [b + s for b, s in zip(B, shift, strict=True)])
    assert moved.p == pytest.approx(found.p)
    assert paired(B, A).mean == pytest.approx(-0.5)


def test_a_difference_is_seen_where_it_is_larger_than_what_can_be():
    noise = numpy.random.default_rng(0).normal(size=5)
    edge = paired([0.0] * 5, list(noise)).detectable
    centred = noise - noise.mean()
    assert paired([0.0] * 5, list(centred + 0.99 * edge)).p > 0.05 > paired([0.0] * 5, list(centred + 1.01 * edge)).p


def test_one_seed_shows_nothing():
    assert paired([1.0], [2.0]).p == 1
    assert paired([1.0, 1.0], [1.0, 1.0]).p == 1


@pytest.mark.parametrize("n, least", [(5, 0.88), (10, 0.94)])
def test_the_bootstrap_holds_the_truth_about_as_often_as_it_says(n, least):
    draws = numpy.random.default_rng(1).normal(size=(300, n))
    held = [low <= 0 <= high for low, high in map(bootstrap, draws.tolist())]
    assert least <= numpy.mean(held) <= 0.995


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0]) and holm([]) == []


def test_letters():
    near = [1.0, 1.1, 1.2, 1.05, 0.99]
    same = [1.01, 1.09, 1.21, 1.04, 1.0]
    far = [2.0, 2.1, 2.2, 2.05, 2.0]
    assert letters([near, same, far]) == ["a", "a", "b"]
    assert letters([near]) == ["a"]
    rough = [0.0, 2.0, -2.0, 1.0, -1.0]  # differences to it spread: 1 cannot be seen, 3 can
    chain = [[0.0] * 5, [1.0 + x for x in rough], [3.0 + 0.1 * x for x in rough]]
    assert [round(paired(chain[i], chain[j]).p, 2) for i, j in ((0, 1), (1, 2), (0, 2))] == [0.23, 0.03, 0.0]
    assert letters(chain) == ["a", "ab", "b"]  # 0.03, doubled for those that are left, is not enough
