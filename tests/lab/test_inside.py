"""Looking changes nothing, and what is seen is what happened."""

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

import ravine
from ravine.lab.protocol.inside import look
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import Data, Task

torch.manual_seed(0)
X = torch.randn(256, 4)
DATA = Data(X, X @ torch.randn(4, 1) + torch.randn(256, 1), X[:64], torch.zeros(64, 1))  # gradients do not vanish
TASK = Task("plane", lambda: DATA, lambda: nn.Linear(4, 1), nn.functional.mse_loss, None)


def trial(lr: float = 0.1, epochs: int = 40, **changes) -> Trial:
    return Trial("plane", "sgd", (("lr", lr),), 3, epochs, 32, "", **changes)


@pytest.mark.parametrize("cls", [ravine.SGD, torch.optim.SGD])
def test_plain_gradient_descent_has_its_rate_as_effective_rate(cls):
    seen = look(trial(), TASK, DATA, cls)
    assert len(seen.layers) == 2 and 80 <= len(seen.step) <= 100 and len(seen.ratio) == 2
    assert all(rate == pytest.approx(0.1, rel=0.005) for layer in seen.effective_lr for rate in layer)
    assert len(seen.histogram_step) == len(seen.gradients) == len(seen.updates) == math.ceil(len(seen.step) / 2)
    json.dumps(asdict(seen), allow_nan=False)


def test_sizes_are_shares_of_what_is_not_zero():
    seen = look(trial(epochs=1), TASK, DATA, ravine.SignSGD)  # every weight moves by the rate
    exponent = math.floor(math.log2(0.1))
    for sample in seen.updates:
        # float32 rounds p - 0.1 a little, to either side; 0.1 lies inside of its bin
        assert sample[exponent - seen.low] == 1000 and sum(sample) == 1000
    assert all(990 <= sum(sample) <= 1010 for sample in seen.gradients)


def test_the_run_is_the_same_as_without_a_look(monkeypatch):
    from ravine.lab.protocol import inside

    results = []
    monkeypatch.setattr(inside, "run", lambda *given: results.append(run(*given)))
    look(trial(schedule="cosine"), TASK, DATA, ravine.Adam)
    (seen, _), (plain, _) = results[0], run(trial(schedule="cosine"), TASK, DATA, ravine.Adam)
    assert seen.valid == plain.valid and seen.train == plain.train


def test_a_run_that_diverges_can_be_looked_into():
    seen = look(trial(lr=1e6), TASK, DATA, ravine.SGD)
    assert any("lr" in finding for finding in seen.findings)
    json.dumps(asdict(seen), allow_nan=False)


def test_of_a_long_run_the_first_part_is_looked_at(monkeypatch):
    from ravine.lab.protocol import inside

    monkeypatch.setattr(inside, "MOST", 10)
    seen = look(trial(), TASK, DATA, ravine.SGD)
    assert seen.step == list(range(1, 11)) and len(seen.histogram_step) == 5
