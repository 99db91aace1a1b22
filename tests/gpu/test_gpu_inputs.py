"""Inputs of `update` as the reference has them: numbers of the host or the device, arrays, rows, columns, factors."""

import pytest
import torch
from pairs import close, gradients

import ravine
from ravine.words import total


class Elements(ravine.Optimizer):
    inputs = {"h": "r c"}

    def update(self, s, p, g, t, loss, least, h):
        return p - self.lr * (loss - least) / total(g**2) * g / h


class Rows(ravine.Optimizer):
    inputs = {"row": "r", "col": "c"}

    def update(self, s, p, g, t, row, col):
        return p - self.lr * row * g * col


class Factors(ravine.Optimizer):
    inputs = {"a": "c c"}

    def update(self, s, p, g, t, a):
        return p - self.lr * g @ a


GIVEN = {
    Elements: {"h": (5, 7)},
    Rows: {"row": (5, 1), "col": (1, 7)},
    Factors: {"a": (7, 7)},
}


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("rule", GIVEN, ids=lambda x: x.__name__)
def test_inputs_are_those_of_the_reference(device, rule, capturable):
    if capturable and rule is Factors:
        pytest.skip("capturable=True takes no matrix work")
    law = [torch.nn.Parameter(torch.ones(5, 7) * i) for i in range(3)]
    ours = [torch.nn.Parameter(p.detach().to(device)) for p in law]
    sides = [(law, rule(law, backend="reference")), (ours, rule(ours, backend="triton", capturable=capturable))]
    for t in range(3):
        drawn = {k: [torch.rand(shape) + 0.5 for _ in law] for k, shape in GIVEN[rule].items()}
        grads = gradients(law, t)
        for params, opt in sides:
            for p, g in zip(params, grads, strict=True):
                p.grad = g.to(p.device)
            arrays = {k: {p: x.to(p.device) for p, x in zip(params, xs, strict=True)} for k, xs in drawn.items()}
            loss = torch.tensor(3.0 + t, device=params[0].device)
            opt.step(**({"loss": loss, "least": 1.0} if rule is Elements else {}), **(arrays if t != 1 else {}))
    for i, (p, q) in enumerate(zip(ours, law, strict=True)):
        close(f"parameter {i}", p, q)
