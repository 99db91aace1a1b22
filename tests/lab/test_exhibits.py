"""The numbers of the figures, against what can be counted by hand; and every figure of every kind of comparison."""

import json
import math
import random
from dataclasses import replace
from itertools import combinations

import pytest

from ravine.lab.protocol.best_of import band, best_of
from ravine.lab.report.exhibits import exhibits, inks, looks, profile, search
from ravine.lab.report.width import envelope, usable

from .synthetic import inside, outcome, swept


@pytest.mark.parametrize("target", [0.0, -1.0])
def test_a_target_that_a_log_axis_has_no_place_for(target):
    figure = exhibits(replace(outcome(), target=target, easy_target=None))["valid"]
    assert figure["layout"]["yaxis"]["type"] == "log" and not figure["layout"]["annotations"]


def test_the_best_of_k_is_the_mean_over_all_ways_to_pick_k():
    losses = [0.5, 3.0, 0.2, 0.2, 1.0, 7.0]
    for k, expected in enumerate(best_of(losses), 1):
        picks = [min(pick) for pick in combinations(losses, k)]
        assert math.isclose(expected, sum(picks) / len(picks))


def test_the_band_holds_the_curve_and_what_one_trial_gives():
    rng = random.Random(0)
    losses = [rng.gauss(1.0, 0.1) for _ in range(40)]
    low, high = band(losses)
    assert all(a <= x <= b for a, x, b in zip(low, best_of(losses), high, strict=True))
    assert 0.8 < (high[0] - low[0]) / (2 * 1.96 * 0.1 / math.sqrt(40)) < 1.2  # k = 1: the standard error of a mean
    assert band(losses) == (low, high)


def test_the_envelope_falls_to_the_best_from_both_sides():
    lrs = [0.3, 0.001, 0.1, 0.01, 0.03, 1.0, 3.0]
    losses = [1.0, 5.0, 0.5, 4.0, 4.5, 0.8, math.inf]
    assert [lrs[i] for i in envelope(lrs, losses)] == [0.001, 0.01, 0.1, 1.0]
    assert envelope([1.0], [math.inf]) == [] and usable([1.0], [math.inf]) is None


def test_the_usable_width_is_where_the_valley_passes_five_per_cent():
    found = usable([0.01, 0.1, 1.0, 10.0], [2.0, 1.0, 1.1, 5.0])
    assert math.isclose(found.low, 0.1 * 10**-0.05) and math.isclose(found.high, 0.1 * 10**0.5)
    assert str(found) == "0.6 decades" and not found.open
    assert str(usable([0.01, 0.1, 1.0], [2.0, 1.02, 1.0])) == "≥ 1.0 decades"
    beside_a_failure = usable([0.01, 0.1, 1.0, 10.0], [2.0, 1.0, 1.01, math.inf])
    assert beside_a_failure.high == 1.0 and not beside_a_failure.open
    assert usable([0.1, 1.0, 10.0], [-1.0, -2.0, -1.0]).decades == pytest.approx(0.2)  # below zero the 5 % go up too


def test_the_profile_counts_tasks_within_a_factor():
    x, y = [10, 40, math.inf, math.inf], [15, 10, 9, math.inf]
    times = {f"task {i}": {"X": a, "Y": b} for i, (a, b) in enumerate(zip(x, y, strict=True))}
    figure = profile(times, inks(outcome(), times))
    rho = {trace["name"]: dict(zip(trace["x"], trace["y"], strict=True)) for trace in figure["data"]}
    assert rho["X"] == {1.0: 0.25, 4.0: 0.5} and rho["Y"] == {1.0: 0.5, 1.5: 0.75, 4.0: 0.75}


def test_what_diverged_counts_as_the_loss_before_the_first_step():
    main = outcome()
    curve = next(t for t in exhibits(main)["best-of"]["data"] if t["name"] == "sgd")  # all its trials diverged
    assert curve["y"] == [3.0, 3.0]


def test_every_exhibit_has_every_method_and_is_strict_json():
    figures = exhibits(outcome())
    assert set(figures) == {"train", "valid", "rates", "widths", "best-of", "seeds", "time", "state", "memory"}
    for name, figure in figures.items():
        shown = {trace["legendgroup"] for trace in figure["data"]}
        assert len(shown) == (4 if name == "widths" else 5), name  # one has no rate that is usable
        json.dumps(figure, allow_nan=False)
    failed = [t for t in figures["rates"]["data"] if t["name"] == "RAdam, diverged"]
    assert failed[0]["x"] == [1.0]
    assert figures["seeds"]["layout"]["yaxis"]["ticktext"][-1] == "sgd (2 diverged)"
    assert {"step", "epoch", "second"} == set(figures["valid"]["measures"])
    assert [s["y0"] for s in figures["valid"]["layout"]["shapes"]] == [0.4, 1.0]


def test_a_seed_that_ends_early_leaves_a_gap_in_the_mean_and_none_in_the_others():
    traces = {t["name"]: t for t in exhibits(outcome())["valid"]["data"]}
    assert traces["sgd"]["y"][5] is not None and traces["sgd"]["y"][6] is None
    assert traces["sgd, run 3"]["y"][-1] is not None and traces["sgd, run 1"]["y"][6] is None


def test_batch_sizes_in_their_order():
    figures = exhibits(swept())
    curve = next(t for t in figures["batch-steps"]["data"] if t["name"] == "RAdam")
    assert curve["x"] == [8, 32, 128] and curve["y"][0] == 30
    names = [t["name"] for t in figures["batch-loss"]["data"] if "," not in t["name"]]
    assert names == ["batch 128", "batch 32", "batch 8"]
    low, high, mean = figures["batch-loss"]["data"][:3]
    assert mean["y"][4] - low["y"][4] == pytest.approx(high["y"][4] - mean["y"][4])  # a deviation to either side
    assert 0 < mean["y"][4] - low["y"][4] == pytest.approx(mean["y"][4] / 9, rel=1e-4)


def test_the_looks_inside_keep_the_sizes():
    figures = looks(inside())
    sizes = figures["gradients"]["data"][0]
    assert sizes["x"] == [1, 3, 5, 7, 9, 11, 13]
    assert sizes["y"] == [float(f"{2.0**e:.3g}") for e in (-19, -18, -17, -16)]
    assert [row[0] for row in sizes["z"]] == [10.0, 70.0, 20.0]
    assert figures["updates"]["data"][0]["y"] == [float(f"{2.0**e:.3g}") for e in (-16, -15)]
    names = [t["name"] for t in figures["ratio"]["data"]]
    assert names == ["head", "layer 0"] and figures["ratio"]["data"][0]["y"][:2] == [None, 0.05]
    json.dumps(figures, allow_nan=False)


def test_a_search_in_parallel_coordinates():
    main = outcome()
    radam = main.methods[0]
    figure = search(radam, inks(main)["RAdam"])["search"]
    assert figure["layout"]["xaxis"]["ticktext"] == ["lr", "1-beta1", "validation loss"]
    frame, *trials, words = figure["data"]
    assert len(trials) == 16 and trials[-1]["name"] == "trial 3" and trials[-1]["line"]["width"] == 3
    best = radam.tried[2]
    assert trials[-1]["customdata"][:2] == list(best.hyper.values()) and trials[-1]["y"][2] == 0
    assert trials[-1]["y"][0] == pytest.approx(math.log10(best.hyper["lr"] / 1e-3) / 3, abs=1e-4)
    (lost,) = [t for t in trials if t["line"]["dash"] == "dot"]
    assert lost["customdata"] == [1.0, pytest.approx(0.08), "diverged"] and lost["y"][2] == 1
    assert max(t["y"][2] for t in trials if t is not lost) == 0.88
    assert words["text"] == ["1", "0.5", "0.139", "diverged", "0.001", "0.02", "0.12"]
    assert frame["hoverinfo"] == words["hoverinfo"] == "skip"
    json.dumps(figure, allow_nan=False)
    one = {"lr": radam.space["lr"], "1-beta1": (0.1, 0.1)}
    assert set(search(replace(radam, space=one), inks(main)["RAdam"])) == {"by-rate"}


def test_curves_by_learning_rate():
    main = outcome()
    radam = main.methods[0]
    traces = search(radam, inks(main)["RAdam"])["by-rate"]["data"]
    assert len(traces) == 16 and traces[-1]["line"]["width"] == 4 and traces[-1]["name"] == "lr 0.1"
    assert traces[-1]["y"][-1] == pytest.approx(radam.tried[2].result.final, rel=1e-5)
    assert traces[0]["name"] == "lr 0.001" and traces[0]["line"]["color"] == "#0072b2"
    lost = traces[-2]
    assert lost["name"] == "lr 1" and lost["line"]["color"] == "#e69f00" and lost["x"][-1] == 50  # where it diverged
    assert [t["name"] for t in traces if t["name"] == t["legendgroup"]] == ["lr 0.001", "lr 1", "lr 0.1"]
    assert [t["name"] for t in traces if t["showlegend"]] == ["lr 0.001", "lr 1", "lr 0.1"]
    assert search(replace(radam, tried=radam.tried[:1]), inks(main)["RAdam"]).keys() == {"search"}


def test_where_everything_diverged_there_still_are_figures():
    main = outcome()
    lost = main.methods[-1]
    ruined = replace(lost, tuned=(lost.tuned[0],) * 5)
    figures = exhibits(replace(main, methods=(ruined,)))
    assert "widths" not in figures and figures["valid"]["data"] == []


def test_without_a_search_there_is_none_to_show():
    main = outcome()
    plain = tuple(replace(m, tried=(), space={}, defaults=()) for m in main.methods)
    assert {"rates", "widths", "best-of"}.isdisjoint(exhibits(replace(main, methods=plain)))
