"""Scores over tasks follow from when methods arrive."""

import math
from dataclasses import replace

import numpy
import pytest

from ravine.lab.protocol.arrivals import Ratio, arrivals, never, over, ratio
from ravine.lab.protocol.score import integrated, ratios, scores, times
from ravine.lab.report import page, terminal

from .synthetic import outcome, run

BUDGET = 100


def seeds(*at: float):
    """Arrivals of one setting, a run each, looked at every step."""
    steps = list(range(BUDGET + 1))
    runs = [(steps, [2.0 if step < t else 1.0 for step in steps], False) for t in at]
    return arrivals(runs, [1.0] * len(runs), 1, 1.0, BUDGET)


def test_the_score_is_the_integral_of_the_profile():
    assert integrated([1.0, 1.0]) == 1 and integrated([4.0, math.inf]) == 0
    assert integrated([1.0, 2.5, math.inf, 7.0]) == pytest.approx((1 + 0.5) / 4)
    found = numpy.random.default_rng(0).uniform(1, 6, 12).tolist()
    tau = numpy.linspace(1, 4, 100)  # as AlgoPerf's code: trapezia under as many points
    rho = [numpy.mean([x <= t for x in found]) for t in tau]
    assert integrated(found) == pytest.approx(numpy.trapezoid(rho, tau) / 3, abs=0.5 / 99)


def test_a_task_without_a_time_is_missed():
    by = ratios({"a": {"X": 10, "Y": 20}, "b": {"X": 30}, "c": {"X": math.inf, "Y": math.inf}})
    assert by == {"X": [1.0, 1.0, math.inf], "Y": [2.0, math.inf, math.inf]}
    assert ratios({"a": {"X": 0, "Y": 5}}) == {"X": [1.0], "Y": [math.inf]}


def test_arrivals_are_where_a_run_stays_and_misses_the_end():
    found = seeds(10, 200)
    assert found.logs == (math.log(10), math.log(BUDGET)) and found.missed == 0.5
    back = arrivals([([0, 10, 20, 30], [5.0, 1.0, 3.0, 1.0], False)], [1.0], 1, 2.0, 30)
    assert back.logs == (math.log(30),) and back.missed == 0  # it was there at 10, and did not stay
    assert back.apart == pytest.approx(math.log(30 / 20))
    lost = arrivals([([0, 10], [5.0, 1.0], True)], [5.0], 1, 2.0, 30)
    assert lost.logs == (math.log(30),) and lost.missed == 1


def test_a_search_arrives_with_the_run_that_it_keeps():
    """Of three runs, in searches of two: the quick one ends highest, and is kept by none."""
    steps = [0, 10, 20, 30]
    runs = [(steps, [5.0, 1.9, 1.9, 1.9], False), (steps, [5.0, 5, 5, 1.0], False), (steps, [5.0, 5, 1.5, 1.5], False)]
    found = arrivals(runs, [r[1][-1] for r in runs], 2, 2.0, 30)
    assert sum(found.logs) / 3 == pytest.approx((2 * math.log(30) + math.log(20)) / 3)


def test_a_ratio_has_an_interval_that_pairs_runs():
    slow = seeds(20, 40, 80)
    half = ratio(seeds(10, 20, 40), slow)
    low, middle, high = half.interval()
    assert middle == pytest.approx(0.5) and low < middle < high
    assert 0.505 < high < 0.55 and half.p() < 0.01  # runs differ by a factor of four, and pairs by nothing
    assert half.interval(7)[0] < low and half.p(7) == pytest.approx(7 * half.p())
    mixed = ratio(seeds(20, 10, 40), slow)
    assert mixed.interval()[0] < 0.2 and (mixed.interval()[2] < 1) == (mixed.p() < 0.05)
    assert ratio(seeds(10), seeds(20)).interval() == (0.0, pytest.approx(0.5), math.inf)
    assert ratio(slow, slow).p() == 1
    same = Ratio(0.5, 0.0, 4)  # all pairs differ by this, and evaluations leave nothing open
    assert same.p() == 0 and same.interval() == (math.exp(0.5),) * 3
    assert Ratio(0.0, 100.0, 1).interval(12)[2] == math.inf  # too large for a number


@pytest.mark.parametrize("size", [5, 32])
def test_of_alike_methods_few_intervals_exclude_one(size):
    """Each with runs of its own, evaluated twenty times, and some past the budget: at most about one in twenty."""
    draw, told = numpy.random.default_rng(0), 0
    grid = list(range(0, 105, 5))
    for _ in range(400):
        both = []
        for _ in range(2):
            at = draw.lognormal(4.0, 0.4, size)
            losses = [[2.0 if step < t else 1.0 for step in grid] for t in at]
            kept_by = draw.normal(size=size).tolist()
            both.append(arrivals([(grid, x, False) for x in losses], kept_by, size // 4, 1.0, BUDGET))
        low, _, high = ratio(*both).interval()
        told += not low <= 1 <= high
    assert told / 400 <= 0.075


def test_the_mean_over_tasks():
    two = over([Ratio(math.log(0.5), 0.01, 4), Ratio(math.log(2.0), 0.03, 4)])
    assert two.mean == pytest.approx(0) and two.variance == pytest.approx(0.01)
    assert two.freedom == pytest.approx(0.04**2 / (0.01**2 / 4 + 0.03**2 / 4))
    assert math.isinf(over([Ratio(0.0, math.inf, 1), Ratio(0.0, 0.01, 4)]).interval()[2])


def several():
    """Two tasks; on the second one method has no row, and another loses."""
    first = outcome()
    slow = tuple(
        replace(m, tuned=tuple(run(0.9, 1) for _ in range(5))) if m.name == "Adam" else m for m in first.methods[:4]
    )
    second = replace(first, methods=slow, facts=replace(first.facts, task=replace(first.facts.task, name="curve")))
    return {"line": first, "curve": second}


def test_scores_over_tasks():
    both = several()
    found = scores(both)
    by = {s.name: s for s in found.standings}
    assert found.baseline == "NAdam" and by["NAdam"].ratio.mean == 0
    assert [s.score for s in found.standings] == sorted((s.score for s in found.standings), reverse=True)
    assert math.inf == times(both)["curve"]["Adam"] > times(both)["line"]["Adam"]
    assert by["Adam"].score < by["NAdam"].score
    assert by["sgd"].score == 0 and by["sgd"].missed == 1  # it diverged, and has no row on the other
    assert by["sgd"].ratio.mean > 0


def test_the_baseline_has_a_row_on_most_tasks():
    both = several()
    short = tuple(m for m in both["curve"].methods if m.name != "NAdam")
    found = scores(both | {"curve": replace(both["curve"], methods=short)})
    assert found.baseline == "Adam"  # by name, as no other that is usual is there
    assert next(s for s in found.standings if s.name == "NAdam").missed >= 0.5


def test_scores_are_shown(capsys):
    both = several()
    found = scores(both)
    html = page(both["line"], "", times(both), found)
    assert html.count("<tr>", html.index('id="scores"'), html.index("</table>", html.index('id="scores"'))) == 1 + 5
    terminal.scores(found)
    printed = capsys.readouterr().out
    rows = [
        line.split()[0]
        for line in printed.splitlines()
        if line and line.split()[0] in {s.name for s in found.standings}
    ]
    assert rows == [s.name for s in found.standings]
    assert "Over 2 tasks: line, curve" in printed and "steps by NAdam" in printed


def test_an_asked_target_is_what_is_timed():
    asked = replace(outcome(), target=1.0, easy_target=None)
    assert math.isfinite(times({"line": asked})["line"]["RAdam"])
    assert all(map(math.isinf, times({"line": replace(asked, target=None)})["line"].values()))


def test_a_run_that_is_there_at_the_first_look_may_have_been_there_from_the_first_step():
    one = arrivals([([0, 5, 10], [2.0, 0.5, 0.4], False)] * 2, [0.4, 0.4], 1, 1.0, 10)
    other = arrivals([([0, 5, 10], [2.0, 2.0, 0.4], False)] * 2, [0.4, 0.4], 1, 1.0, 10)
    assert one.apart == pytest.approx(math.log(5)) and other.apart == pytest.approx(math.log(2))
    low, middle, high = ratio(other, one).interval()
    assert middle == pytest.approx(2) and low < 1 < high


def test_of_two_that_never_arrive_nothing_is_known():
    assert ratio(never(3, 100), never(3, 100)).interval() == (0.0, 1.0, math.inf)
