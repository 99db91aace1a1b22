"""A rule that takes the second moments of a layer, as K-FAC does: p ← p − lr (B + λI)⁻¹ g (A + λI)⁻¹."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import ravine
from ravine.sources import SecondMoments
from ravine.words import cols, eye, matrix_op, rows

inverse = matrix_op(torch.linalg.inv)


class KFAC(ravine.Optimizer):
    inputs = {"a": "c c", "b": "r r"}
    damping: float = 0.1

    def update(self, s, p, g, t, a, b):
        return p - self.lr * (inverse(b + self.damping * eye(rows(p))) @ g @ inverse(a + self.damping * eye(cols(p))))


def damped(x):
    return torch.linalg.inv(x + 0.1 * torch.eye(len(x), dtype=x.dtype))


@pytest.mark.parametrize("backend", ["llvm", "reference"])
def test_it_is_kfac_written_out(backend):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    opt = KFAC(model.parameters(), lr=0.2, backend=backend, sources=[SecondMoments(model)])
    for _ in range(3):
        x, y = torch.randn(5, 6, 3).double(), torch.randn(5, 6, 2).double()  # 30 rows
        first, act, last = deepcopy(model)  # a copy is not watched
        y0 = first(x.reshape(30, 3))
        y1 = last(z1 := act(y0))
        d0, d1 = torch.autograd.grad((y1 - y.reshape(30, 2)).square().sum(), (y0, y1))  # not yet the mean
        want = []
        for layer, z, d in ((first, x.reshape(30, 3), d0), (last, z1, d1)):
            b = damped(d.T @ d / 30)
            want.append(layer.weight - 0.2 * b @ (d.T @ z / 30) @ damped(z.T @ z / 30))
            want.append(layer.bias - 0.2 * b @ d.mean(0) / 1.1)
        opt.zero_grad()
        for part_x, part_y in zip(x.split(4), y.split(4), strict=True):  # accumulated: 24 rows, then 6
            ((model(part_x) - part_y).square().sum(-1).sum() / 30).backward()
        with torch.no_grad():
            model(x + 100)  # a validation pass does not count
        opt.step()
        for p, q in zip(model.parameters(), want, strict=True):
            torch.testing.assert_close(p, q)


def test_what_no_source_gives_is_named_and_nothing_has_moved():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    opt = KFAC(model.parameters(), sources=[SecondMoments(model)])
    model(torch.randn(5, 3)).square().mean().backward()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(TypeError, match=r"KFAC: parameter 2 of shape \(4,\) is given no 'a'"):
        opt.step()
    assert all(map(torch.equal, before, model.parameters())) and not opt.state
