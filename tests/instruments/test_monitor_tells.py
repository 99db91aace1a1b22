"""Where the monitor's findings and numbers go: a report, a file, TensorBoard; what close() puts back; mistakes."""

import json
from itertools import pairwise

import pytest
import torch
from monitored import ADAM, mlp, train
from torch import nn

import ravine
from ravine.instruments.histogram import BINS


def test_the_report_is_a_table_and_words(digits, capsys):
    model = mlp()
    with torch.no_grad():
        model[0].bias.fill_(-100)
    monitor = train(model, ADAM(model.parameters()), digits, tell=None)
    assert monitor.report() == monitor.findings
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["step 120", lines[1]] and lines[1].split()[:2] == ["layer", "‖g‖"]
    assert (
        lines[2].split()[0] == "0" and lines[2].endswith("zero gradient") and lines[4].split() == ["1", "64/64", "dead"]
    )
    assert lines[5:] == [str(finding) for finding in monitor.findings]
    model = mlp()
    healthy = train(model, ADAM(model.parameters()), digits, steps=1)
    healthy.report()
    assert capsys.readouterr().out.endswith("nothing looks wrong\n")


def test_the_history_is_saved(digits, tmp_path):
    model = mlp()
    monitor = train(model, ADAM(model.parameters()), digits, steps=25, histograms=2)
    monitor.save(tmp_path / "run.json")
    saved = json.loads((tmp_path / "run.json").read_text())
    assert saved["step"] == [1, 10, 20] and saved["layers"] == ["0", "2"] and len(saved["loss"]) == 25
    assert len(saved["edges"]) == BINS and [sum(row) for row in saved["updates"][1]] == [4096 + 64, 650]
    for kind in ("lr", "grad_norm", "update_norm", "weight_norm", "ratio", "effective_lr"):
        assert [len(row) for row in saved[kind]] == [2, 2, 2], kind
    assert saved["histogram_step"] == [1, 20] and [len(x) for x in saved["gradients"]] == [2, 2]
    assert saved["dead"] == {"1": [0.0, 0.0, 0.0]} and saved["findings"] == []


def test_a_long_history_becomes_coarser(digits, monkeypatch):
    monkeypatch.setattr("ravine.instruments.monitor.KEPT", 10)
    model = mlp()
    monitor = train(model, ADAM(model.parameters()), digits, steps=60, every=1, histograms=0)
    steps = [sample.step for sample in monitor.samples]
    assert 5 <= len(steps) <= 10 and len({b - a for a, b in pairwise(steps)}) == 1
    assert monitor.history["updates"] == []


class Writer:
    def __init__(self):
        self.scalars, self.histograms = {}, {}

    def add_scalar(self, tag, scalar_value, global_step=None):
        self.scalars.setdefault(tag, []).append((global_step, scalar_value))

    def add_histogram_raw(self, tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts, global_step=None):
        assert len(bucket_limits) == len(bucket_counts) == BINS and num == builtin_sum(bucket_counts)
        middle = [x - 0.5 for x in bucket_limits]
        assert sum == builtin_sum(n * x for n, x in zip(bucket_counts, middle, strict=True)) and min <= sum / num <= max
        assert sum_squares >= sum**2 / num - 1e-6
        self.histograms.setdefault(tag, []).append(global_step)


builtin_sum = sum


def test_a_writer_of_tensorboard_gets_all(digits):
    model, writer = mlp(), Writer()
    monitor = train(model, ADAM(model.parameters()), digits, steps=20, to=writer, histograms=1)
    assert writer.scalars["ratio/2"] == [(sample.step, sample.ratio[1]) for sample in monitor.samples]
    assert [step for step, _ in writer.scalars["loss"]] == [1, 10, 20] and writer.scalars["dead/1"][-1] == (20, 0.0)
    assert writer.histograms == {f"log2 {k}/{i}": [1, 10, 20] for k in ("gradients", "updates") for i in (0, 2)}


def test_close_puts_everything_back(digits):
    model = mlp()
    opt = ADAM(model.parameters())
    monitor = train(model, opt, digits, steps=1)
    assert opt.param_groups[0]["measured"]
    monitor.close()
    assert not opt.param_groups[0]["measured"]
    with pytest.raises(RuntimeError, match="closed"):
        monitor.step(1.0)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"every": 0}, ValueError, "every is 0"),
        ({"opt": None}, TypeError, "takes a module and an optimizer, not Linear and NoneType"),
    ],
)
def test_mistakes(given, error, said):
    model = nn.Linear(2, 2)
    with pytest.raises(error, match=said):
        ravine.Monitor(model, **{"opt": ADAM(model.parameters()), **given})
