"""Distributions: means and quantiles in closed form, and draws that agree with them."""

import math

import numpy as np
import pytest

from ravine.parallel.simulate import (
    Cluster,
    Constant,
    Empirical,
    Exponential,
    Failures,
    LogNormal,
    Pareto,
    ShiftedExponential,
    Uniform,
    distribution,
)  # fmt: skip
from ravine.parallel.simulate.cluster import Draws, generator, once

EVERY = [
    Constant(0.3), Uniform(1.0, 3.0), Exponential(2.0), ShiftedExponential(1.0, 0.5), Pareto(1.0, 3.0),
    LogNormal(2.0, 0.5), Empirical([1.0, 2.0, 6.0]),
]  # fmt: skip


@pytest.mark.parametrize("x", EVERY, ids=repr)
def test_draws_have_the_mean_and_the_quantiles(x):
    values = x.draw(np.random.default_rng(0), 200_000)
    assert abs(values.mean() / x.mean - 1) < 0.01
    for u in (0.1, 0.5, 0.9):
        assert (values <= x.quantile(u)).mean() >= u - 0.005
        assert (values < x.quantile(u)).mean() <= u + 0.005
    assert x.quantile(0.0) >= 0


def test_quantiles_in_closed_form():
    assert Exponential(2.0).quantile(0.5) == pytest.approx(2 * math.log(2), rel=1e-14)
    assert ShiftedExponential(1.0, 0.5).quantile(0.75) == pytest.approx(1 + 0.5 * math.log(4), rel=1e-14)
    assert Pareto(1.0, 2.0).quantile(0.75) == pytest.approx(2.0, rel=1e-14)
    assert LogNormal(3.0, 0.7).quantile(0.5) == pytest.approx(3.0, rel=1e-14)
    assert LogNormal(1.0, 1.0).quantile(0.8413447460685429) == pytest.approx(math.e, rel=1e-12)
    assert Pareto(1.0, 1.0).mean == math.inf
    assert Empirical([3.0, 1.0]).quantile(0.5) == 3.0


@pytest.mark.parametrize(
    ("typed", "made"),
    [
        ("0.5", Constant(0.5)),
        (2, Constant(2.0)),
        ("exponential:0.1", Exponential(0.1)),
        ("Log_Normal:median=2,sigma=1", LogNormal(2.0, 1.0)),
        ("pareto:least=1,shape=3", Pareto(1.0, 3.0)),
        (Uniform(0.0, 1.0), Uniform(0.0, 1.0)),
    ],
)
def test_distributions_by_name(typed, made):
    assert distribution(typed) == made


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("exponentail:1", "did you mean Exponential"),
        ("exponential:rate=1", "takes mean"),
        ("pareto:1,2,3", "no FIELD=VALUE"),
        ("exponential:-1", "must be a number from 0"),
        ("exponential:soon", "must be a number"),
        ("nan", "must be a number"),
    ],
)
def test_what_is_no_distribution_is_told(typed, says):
    with pytest.raises(ValueError, match=says):
        distribution(typed)


def test_a_column_of_a_file(tmp_path):
    path = tmp_path / "delays.csv"
    path.write_text("worker,seconds\n0,0.5\n1,1.5\n")
    assert Empirical.read(path, "seconds").values == (0.5, 1.5)
    assert distribution(f"empirical:{path}:seconds").mean == 1.0
    with pytest.raises(ValueError, match="has no column 'second'; it has worker, seconds"):
        Empirical.read(path, "second")
    with pytest.raises(ValueError, match="must be numbers"):
        Empirical.read(path, 0)


def test_one_worker_more_changes_no_draw_of_the_others():
    few, many = Cluster(3, Exponential(1.0)), Cluster(1000, Exponential(1.0))
    for i in range(3):
        a = [Draws(few.computes(i), 5, i, "compute").next() for _ in range(1)]
        b = [Draws(many.computes(i), 5, i, "compute").next() for _ in range(1)]
        assert a == b
    kinds = [Draws(Exponential(1.0), 5, 0, what).next() for what in ("compute", "latency", "life", "service", "fate")]
    assert len({*kinds, once(Exponential(1.0), 5, 1, "compute"), once(Exponential(1.0), 6, 0, "compute")}) == 7


def test_one_generator_draws_the_same_one_by_one():
    draws = Draws(Exponential(1.0), 1, 2, "compute")
    expected = Exponential(1.0).draw(generator(1, 2, "compute"), 100)
    assert [draws.next() for _ in range(100)] == expected.tolist()


def test_days_change_when_workers_die_and_not_how_many():
    """The time to death solves ∫ hazard = the life drawn: over whole days the swing takes out."""
    fails = Failures(life=Exponential(1.0), day=10.0, swing=0.9)
    assert fails.death(0.0, 30.0) == pytest.approx(30.0, abs=1e-9)
    early, late = fails.death(0.0, 1.0), fails.death(5.0, 1.0)
    assert early - 0.0 < 1.0 < late - 5.0
    t = np.linspace(5.0, late, 100_001)
    hazard = 1 + 0.9 * np.sin(2 * np.pi * t / 10)
    assert np.trapezoid(hazard, t) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Failures(nan=1.5), "nan is 1.5"),
        (lambda: Failures(swing=0.5), "swing needs day"),
        (lambda: Failures(snapshot=0), "snapshot is 0"),
        (lambda: Cluster(0), "workers"),
        (lambda: Cluster(3, [Constant(1.0)]), "1 distributions for 3 workers"),
        (lambda: Empirical([]), "no values"),
        (lambda: Exponential(float("nan")), "mean is nan"),
    ],
)
def test_what_is_no_cluster_is_told(make, says):
    with pytest.raises(ValueError, match=says):
        make()
