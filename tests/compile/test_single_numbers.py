"""States that are one number, of each tensor or of the host; and the sizes of tensors."""

import math

import pytest
import torch
from torch import nn
from toys import BACKENDS, SHAPES, rule, run, waves

from ravine import Optimizer, words
from ravine.words import cols, norm, number, numel, rows, scalar


class Capped(Optimizer):
    """The step is never longer than the longest gradient so far is times lr: a number per tensor."""

    lr: float = 0.1

    def init(self, s, p):
        s.longest = scalar(1.0)

    def update(self, s, p, g, t):
        s.longest = words.maximum(0.9 * s.longest, norm(g))
        return p - self.lr * g / s.longest


class Counted(Optimizer):
    """The rate shrinks by a product that the host keeps."""

    lr: float = 0.1
    decay: float = 0.9

    def init(self, s, p):
        s.product = number(1.0)

    def update(self, s, p, g, t):
        s.product = s.product * self.decay
        return p - self.lr * s.product * g


@BACKENDS
@pytest.mark.parametrize("shape", [*SHAPES, (9000,)], ids=str)
def test_a_number_of_each_tensor(backend, shape):
    gradients = waves(shape)
    p, opt = run(Capped, gradients, shape, backend)
    plain, longest = torch.ones(shape, dtype=torch.float64), 1.0
    for g in gradients:
        longest = max(0.9 * longest, g.norm().item())
        plain = plain - 0.1 * g / longest
    torch.testing.assert_close(p, plain, rtol=1e-12, atol=1e-12)
    (state,) = opt.state.values()
    assert state["longest"].shape == () and abs(state["longest"].item() - longest) < 1e-9


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_number_of_each_tensor_is_kept_in_float32_at_least(backend, dtype):
    params = [nn.Parameter(torch.ones(s, dtype=dtype)) for s in SHAPES]
    opt = Capped(params, backend=backend)
    for t in range(3):
        for p, shape in zip(params, SHAPES, strict=True):
            p.grad = waves(shape, 3)[t].to(dtype)
        opt.step()
    for p, shape in zip(params, SHAPES, strict=True):
        assert opt.state[p]["longest"].dtype == torch.float32
        longest = 1.0
        for g in waves(shape, 3):
            longest = max(0.9 * longest, g.to(dtype).double().norm().item())
        assert abs(opt.state[p]["longest"].item() - longest) < 1e-5 * longest


@BACKENDS
def test_a_number_of_the_host(backend):
    gradients = waves((3, 4))
    p, opt = run(Counted, gradients, backend=backend)
    plain = 1 - sum(0.1 * 0.9 ** (t + 1) * g for t, g in enumerate(gradients))
    torch.testing.assert_close(p, plain, rtol=1e-13, atol=1e-13)
    (state,) = opt.state.values()
    assert state["product"].dtype == torch.float64 and abs(state["product"].item() - 0.9**4) < 1e-15


@BACKENDS
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3), (6, 1)], ids=str)
def test_sizes(backend, shape):
    cls = rule(lambda self, s, p, g, t: p + 100 * rows(p) + 10 * cols(p) + numel(p))
    p, _ = run(cls, [torch.ones(shape)], shape, backend)
    r = shape[0] if shape else 1
    c = math.prod(shape[1:])
    assert (p == 1 + 100 * r + 10 * c + r * c).all()
