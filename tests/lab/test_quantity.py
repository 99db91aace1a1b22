"""The verdict by a metric: what is chosen by it, what it says, and what it owes to the rows."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from ravine.cli import main
from ravine.lab import LabError, Task
from ravine.lab.protocol.evaluation import evaluated
from ravine.lab.protocol.quantity import LOSS, Quantity
from ravine.lab.protocol.reading import Reading
from ravine.lab.protocol.resume import found
from ravine.lab.protocol.trial import Result
from ravine.lab.report.exhibits import exhibits

from .conftest import compared
from .test_any_model import PLAIN, result


def f1(output, target):
    hits = ((output.argmax(1) == 1) & (target == 1)).sum()
    return 2 * hits / ((output.argmax(1) == 1).sum() + (target == 1).sum())


X, Y = torch.randn(100, 2, generator=torch.Generator().manual_seed(1)), torch.arange(100) % 2


def test_parts_of_a_mean_are_its_means_and_those_of_another_metric_average_to_about_it():
    for batch, b in ((1000, 50), (30, 50), (1, 100)):
        made = evaluated(replace(PLAIN, evaluation_batch=batch), lambda x: x, X, Y, 50)
        means = torch.stack([(x.argmax(1) == y).float().mean() for x, y in zip(X.chunk(b), Y.chunk(b), strict=True)])
        torch.testing.assert_close(torch.tensor(made.metric_parts), means, atol=1e-4, rtol=0)
        assert len(made.parts) == b
    made = evaluated(replace(PLAIN, metric=f1), lambda x: x, X, Y, 50)
    assert made.metric == pytest.approx(float(f1(X, Y)))
    assert sum(made.metric_parts) / 50 == pytest.approx(made.metric, abs=0.01)
    assert evaluated(replace(PLAIN, metric=None), lambda x: x, X, Y, 50).metric_parts == []
    assert evaluated(PLAIN, lambda x: x, X, Y).metric_parts == []


def test_less_is_better_and_no_number_is_the_worst():
    run = Result(step=[0, 1], train=[2.0, 1.0], valid=[2.0, 1.0], metric=[0.25, math.nan], test=1.0, test_metric=0.75,
                 parts=[1.0, 1.0], metric_parts=[0.5, 1.0])  # fmt: skip
    high, low = (Quantity.of("metric", replace(PLAIN, metric_best=x)) for x in ("high", "low"))
    assert (high.name, high.best, low.name, low.best) == (
        "1 − accuracy", "highest accuracy", "accuracy", "lowest accuracy",
    )  # fmt: skip
    assert replace(high.seen(run), step=[]) == Result(
        step=[], train=run.train, valid=[0.75, math.inf], metric=run.metric, test=0.25, test_metric=0.75,
        parts=[0.5, 0.0], metric_parts=[0.5, 1.0],
    )  # fmt: skip
    assert low.seen(run).valid == [0.25, math.inf] and low.seen(run).parts == [0.5, 1.0]
    assert Quantity.of("loss", PLAIN).seen(run) is run and Quantity.of("loss", PLAIN) is LOSS
    assert high.seen(replace(run, test=None, test_metric=None)).test is None


def test_bad_input_is_a_line():
    with pytest.raises(LabError, match="--by metric: task 'mine' has none; give Task"):
        Quantity.of("metric", replace(PLAIN, metric=None))
    with pytest.raises(LabError, match='metric_best=\'max\' must be "high" or "low"'):
        Task("mine", PLAIN.data, PLAIN.model, metric_best="max")


def test_a_trial_keeps_what_parts_of_the_test_rows_add():
    kept = result(PLAIN)
    assert len(kept.metric_parts) == len(kept.parts) == 20
    assert sum(kept.metric_parts) / 20 == pytest.approx(kept.test_metric)
    untested = result(replace(PLAIN, data=lambda: PLAIN.data()[:4]))
    assert sum(untested.metric_parts) / 20 == pytest.approx(untested.metric[-1])


SIZE = """
import torch
from ravine.lab import Task

def data():
    x = torch.randn(24, 2)
    y = (x.sum(1) > 0).long()
    return x[:8], y[:8], x[8:16], y[8:16], x[16:], y[16:]

def size(output, target):
    return output.abs().mean()

task = Task("few", data, lambda: torch.nn.Linear(2, 2), batch=4, epochs=2, metric=size, metric_name="size",
            metric_best="BEST")
"""


@pytest.mark.parametrize("best", ["high", "low"])
def test_a_search_by_a_metric_keeps_what_has_the_best_of_it(tmp_path, best, capsys):
    """The size of outputs: the run that has most of it is another than that which has least."""
    about = ("--tier", "smoke", "--optimizers", "adam", "--by", "metric", "--target", "0.5")
    compared(tmp_path, *about, code=SIZE.replace("BEST", best))
    shown = found(tmp_path / "kept")[0]
    name = "1 − size" if best == "high" else "size"
    assert shown.measure == f"test {name}" and shown.target == 0.5
    printed = capsys.readouterr().out
    assert f"test {name}" in printed and f"Adam reaches {name}" in printed and "validation loss" not in printed
    with Reading(tmp_path / "kept") as records:
        search = [r.result for r in records.rows() if r.trial.seed >= 1000]
    pick = max if best == "high" else min
    first = pick(search, key=lambda r: r.metric[-1])
    (m,) = shown.methods
    kept = min(m.tried, key=lambda p: p.result.final)
    assert kept.result.metric == first.metric and dict(kept.hyper)["lr"] == m.hyper["lr"]
    assert len({r.metric[-1] for r in search}) == len(search) > 1
    page = (tmp_path / "kept" / "report.html").read_text(encoding="utf-8").split("<script")[0]
    assert f"test {name}" in page and "alidation loss" not in page


def test_a_metric_that_not_every_part_has_leaves_the_trial_as_it_is():
    """As the area under a curve, of rows of one class."""

    def both(output, target):
        if len(target) < 100:
            raise ValueError("only one class")
        return output.square().mean().sqrt()

    made = evaluated(replace(PLAIN, metric=both), lambda x: x, X, Y, 50)
    assert made.metric == pytest.approx(float(X.square().mean().sqrt())) and made.metric_parts == []


NONE = SIZE.replace("output.abs().mean()", "float('nan')").replace("BEST", "low")
SOME = SIZE.replace("output.abs().mean()", "output.abs().mean() if output.abs().mean() > 0.7 else float('nan')")


@pytest.mark.parametrize("code", [NONE, SOME.replace("BEST", "low"), SOME.replace("BEST", "high")])
def test_a_metric_that_is_no_number_is_told_and_ends_no_report(tmp_path, capsys, code):
    compared(tmp_path, "--tier", "smoke", "--optimizers", "adam,sgd", "--by", "metric", code=code)
    printed = capsys.readouterr().out
    assert "Report: file:" in printed and "never moved" not in printed
    if code is NONE:
        assert "No metric is a finite number, even before the first step" in printed
    assert main(["compare", "--report", str(tmp_path / "kept")]) == 0


def test_a_refused_metric_leaves_the_finished_comparison_as_it_is(tmp_path, capsys, monkeypatch):
    code = SIZE.replace('metric=size, metric_name="size",', "metric=None").replace('metric_best="BEST"', "")
    compared(tmp_path, "--optimizers", "adam", code=code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        said = ["compare", "--task", "mine:task", "--out", "kept", "--points", "2", "--seeds", "2", "--by", "metric"]
        assert main(said) == 2 and "task 'few' has none" in capsys.readouterr().err
    finally:
        sys.modules.pop("mine", None)
    assert main(["compare", "--report", "kept"]) == 0


def test_a_batch_sweep_counts_to_the_target_that_was_asked_for(tmp_path):
    code = SIZE.replace("BEST", "high")
    compared(tmp_path, "--tier", "smoke", "--optimizers", "adam", "--batch-sweep", "2,8", "--target", "0.6", code=code)
    shown = found(tmp_path / "kept")[0]
    assert [o.target for o in (shown, *shown.sweep)] == [0.6] * 3
    (trace, *_) = [t for t in exhibits(shown)["batch-steps"]["data"] if t["name"] == "Adam"]
    assert all(y is None or y > 0 for y in trace["y"])
