"""A small task, and optimizers of somebody's own that are no classes; the tests import it as a person's module."""

from functools import partial

import torch
from torch import nn

import ravine
from ravine.lab import Task
from ravine.mods import ClipNorm


def data():
    """Six numbers a row, and whether two of them have one sign."""
    x = torch.randn(96, 6)
    y = (x[:, 0] * x[:, 1] > 0).long()
    return x[:48], y[:48], x[48:72], y[48:72], x[72:], y[72:]


def model():
    """With a matrix inside."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


task = Task("tiny", data, model, batch=12, epochs=4)

clipped = partial(ravine.Adam, mods=[ClipNorm(0.1)], eps=1e-6)
plain = partial(ravine.Adam, eps=1e-6)
by_place = partial(ravine.Adam, [])
matrices = partial(ravine.Muon, mods=[ClipNorm(0.1)])


def sam(params, lr=0.1, rho=0.05):
    """SAM over SGD."""
    return ravine.strategies.SAM(ravine.SGD(params, lr=lr), rho=rho)


def undecayed(model, lr=1e-3, **hyper):
    """AdamW that leaves vectors alone."""
    p = list(model.parameters())
    vectors = {"params": [x for x in p if x.ndim < 2], "weight_decay": 0.0}
    return torch.optim.AdamW([{"params": [x for x in p if x.ndim > 1]}, vectors], lr=lr, **hyper)


def wrong(params, lr=0.1):
    """What is no optimizer."""
    return params


class Greedy(torch.optim.SGD):
    """Asks for the loss three times a step, and goes down each time."""

    def step(self, closure):  # pyright: ignore[reportIncompatibleMethodOverride]
        for _ in range(3):
            closure()
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.add_(p.grad, alpha=-group["lr"])
