"""The order of rows by difficulty, as Zaremba & Sutskever have it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.lab import LabError, Task
from ravine.lab.protocol import curriculum
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import Data

LEVELS = torch.arange(600) % 3 + 1  # 200 rows of each of three levels
X = LEVELS[:, None].float()
DATA = Data(X, X, X, X)
TASK = Task(
    "levels", lambda: DATA, lambda: nn.Linear(1, 1), nn.functional.mse_loss, None, difficulty=lambda d: d.x[:, 0]
)


def counts(name, epoch, epochs=12):
    """How many rows of each level an epoch has."""
    order = curriculum.order(name, TASK, DATA, epochs, seed=1)
    for _ in range(epoch + 1 if name == "none" else 1):
        rows = order(epoch)
    assert len(rows) == 600
    return torch.bincount(LEVELS[rows], minlength=4)[1:].tolist()


def test_the_strategies_of_the_paper():
    assert [counts("none", epoch) for epoch in (0, 11)] == [[200] * 3] * 2
    assert [counts("baseline", epoch) for epoch in (0, 11)] == [[0, 0, 600]] * 2
    assert [counts("naive", epoch) for epoch in (0, 2, 5, 6, 11)] == [
        [600, 0, 0], [0, 600, 0], [0, 0, 600], [0, 0, 600], [0, 0, 600]
    ]  # fmt: skip
    for epoch in (0, 11):
        assert counts("mixed", epoch) == pytest.approx([200] * 3, abs=50)
    assert counts("combined", 0) == pytest.approx([520, 40, 40], abs=30)
    assert counts("combined", 11) == pytest.approx([40, 40, 520], abs=30)


def test_without_one_the_order_is_the_one_it_always_was():
    order = curriculum.order("none", TASK, DATA, 3, seed=5)
    generator = torch.Generator().manual_seed(5)
    for epoch in range(3):
        assert torch.equal(order(epoch), torch.randperm(600, generator=generator))


def test_seeds_have_orders_of_their_own():
    orders = [curriculum.order("mixed", TASK, DATA, 3, seed) for seed in (0, 0, 1)]
    epochs = [[order(epoch).tolist() for epoch in range(3)] for order in orders]
    assert epochs[0] == epochs[1] and not any(epoch in epochs[0] for epoch in epochs[2])


def test_a_trial_follows_it_and_is_another_trial():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            if self.training:
                seen.append(x.unique().tolist())
            return super().forward(x)

    trial = Trial("levels", "sgd", (("lr", 1e-3),), seed=0, epochs=6, batch=50, content="", curriculum="naive")
    result, _ = run(trial, replace(TASK, model=lambda: Spy(1, 1)), DATA, ravine.SGD)
    assert seen[1:13] == [[1.0]] * 12 and seen[-12:] == [[3.0]] * 12  # seen[0] is the look before the first step
    assert result.step[-1] == 6 * 12
    assert trial.key != replace(trial, curriculum="none").key


def test_what_cannot_be_ordered_is_told():
    with pytest.raises(LabError, match="--curriculum naive: task 'levels' does not say how difficult its rows are"):
        curriculum.check("naive", replace(TASK, difficulty=None))
    with pytest.raises(LabError, match="--curriculum harder: known are none, baseline, naive"):
        curriculum.check("harder", TASK)
    wrong = replace(TASK, difficulty=lambda d: d.x)
    with pytest.raises(LabError, match=r"one number for each of the 600 training rows, .* of shape \(600, 1\)"):
        curriculum.order("mixed", wrong, DATA, 3, 0)


def test_the_command_says_it_before_any_training(ravine_command, tmp_path):
    status, printed = ravine_command("compare", "--curriculum", "naive", cwd=tmp_path)
    assert status == 2 and "task 'digits' does not say how difficult its rows are" in printed
    assert list(tmp_path.iterdir()) == []
