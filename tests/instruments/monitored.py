"""Models of several kinds, and a training run of one under the eyes of a monitor."""

from functools import partial

import torch
from torch import nn

import ravine

cross_entropy = nn.functional.cross_entropy


def mlp(depth=1, width=64):
    hidden = [x for _ in range(depth) for x in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def cnn():
    parts = [
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
    ]  # fmt: skip
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *parts, nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 10))


class Transformer(nn.Module):
    """The rows of a digit as eight tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Linear(8, 32), nn.Parameter(torch.zeros(8, 32))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True) for _ in range(2))
        self.out = nn.Linear(32, 10)

    def forward(self, x):
        x = self.embed(x.unflatten(1, (8, 8))) + self.place
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(1))


def zero_start():
    net = mlp(2)
    nn.init.zeros_(net[-1].weight)
    return net


def train(model, opt, data, steps=120, batch=64, loss=cross_entropy, schedule=None, **how):
    """The monitor after a run."""
    x, y = data
    order = torch.Generator().manual_seed(0)
    said = []
    monitor = ravine.Monitor(model, opt, **{"tell": said.append, **how})
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,), generator=order)
        value = loss(model(x[rows]), y[rows])
        opt.zero_grad()
        value.backward()
        opt.step()
        monitor.step(value)
        if schedule is not None:
            schedule.step()
    if how.get("tell", 0) is not None:
        assert said == [str(finding) for finding in monitor.findings]
    return monitor


def rules(monitor):
    return {finding.rule for finding in monitor.findings}


ADAM, SGD = ravine.Adam, partial(ravine.SGD, lr=0.1)
MOMENTUM = partial(ravine.SGD, lr=0.05, momentum=0.9)
