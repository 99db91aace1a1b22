"""Precision and torch.compile: other numbers, the same learning; and scaling that loses no gradient."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.lab.protocol.passes import Passes
from ravine.lab.protocol.trial import run

from .test_trial import DATA, LINE, TRIAL


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("cls", [ravine.SGD, torch.optim.SGD])
def test_lower_precision_learns_and_is_another_trial(precision, cls):
    trial = replace(TRIAL, precision=precision)
    wide, low = (run(t, LINE, DATA, cls)[0] for t in (TRIAL, trial))
    assert trial.key != TRIAL.key and low.valid != wide.valid
    skipped = 6 if precision == "fp16" else 0  # steps, until the scale is one at which nothing overflows
    assert wide.valid[-1] * 0.9 < low.valid[-1] < wide.valid[-1 - skipped] * 1.1


def test_the_loss_is_of_float32_and_the_passes_are_not():
    model = nn.Linear(3, 2)
    passes = Passes(model, ravine.SGD(model.parameters()), "cpu", "bf16", compiled=False)
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    output = passes.forward(torch.randn(4, 3))
    assert seen == [torch.bfloat16] and output.dtype == torch.float32 and model.weight.dtype == torch.float32


@pytest.mark.parametrize("cls", [ravine.SGD, torch.optim.SGD])
def test_in_float16_small_gradients_survive_and_an_overflow_is_skipped(cls):
    """A gradient of 1e-8, which float16 has not; then a loss whose scaled gradient it has not either."""
    model = nn.Linear(1, 1, bias=False)
    passes = Passes(model, cls(model.parameters(), lr=1.0), "cpu", "fp16", compiled=False)
    before = model.weight.item()

    def step(scale: float) -> float:
        loss = passes.forward(torch.ones(1, 1)).sum() * scale
        passes.move(lambda: passes.backward(loss) or loss)
        return model.weight.item()

    with torch.no_grad():
        model.weight.zero_()
        before = model.weight.item()
    assert step(1e-8) == pytest.approx(before - 1e-8, rel=1e-3)
    assert step(1e3) == pytest.approx(before - 1e-8, rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch.compile's own
def test_a_compiled_model_learns_the_same():
    trial = replace(TRIAL, compiled=True)
    plain, compiled = (run(t, LINE, DATA, ravine.SGD)[0] for t in (TRIAL, trial))
    assert trial.key != TRIAL.key
    assert compiled.valid == pytest.approx(plain.valid, rel=1e-4)


@pytest.mark.slow
def test_lower_precision_is_another_comparison_and_the_report_says_so(ravine_command, tmp_path):
    arguments = ("compare", "--tier", "smoke", "--optimizers", "sgd", "--epochs", "1", "--workers", "cpu,cpu")
    for more in ((), ("--precision", "bf16")):
        status, printed = ravine_command(*arguments, *more, cwd=tmp_path)
        assert status == 0 and "already" not in printed, printed
    page = (tmp_path / "runs" / "digits" / "report.html").read_text(encoding="utf-8")
    assert "on cpu in float32, passes in bf16 by torch.autocast" in page
