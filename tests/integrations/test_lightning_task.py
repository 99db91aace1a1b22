"""A LightningModule is a task by its `training_step`, as on docs/tasks.md, or by its `forward`."""

import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs the extra 'integrations'")
pytest.importorskip("plotly", reason="needs the extra 'lab'")
import lightning

import ravine
from ravine.lab import Task
from ravine.lab.protocol.trial import Trial, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*You are trying to `self.log\\(\\)`:UserWarning"),  # without a Trainer
]

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("loss", loss)
        return loss


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = Module()

    def forward(self, *batch):
        return self.module.training_step(batch, 0)


def test_by_its_step_as_by_its_output():
    by_output = Task("module", lambda: (X, Y, X, Y), Module, batch=8, epochs=5)
    by_step = Task(
        "module", lambda: ((X, Y), None, (X, Y), None), Step, loss=lambda loss: loss, metric=None, batch=8, epochs=5
    )
    trial = Trial("module", "adam", (("lr", 0.05),), seed=0, epochs=5, batch=8, content="")
    results = []
    for task in (by_output, by_step):
        data = task.load()
        task.rehearse(data)
        results.append(run(trial, task, data, ravine.Adam)[0].valid)
    assert results[0] == results[1] and results[0][-1] < 0.5 * results[0][0]
