"""Matrix work between kernels: Muon and Shampoo as a user writes them are the plain loop."""

import math

import pytest
import torch
from torch import nn
from toys import BACKENDS, SHAPES, compiled, rule, run, waves

from ravine import Optimizer, words
from ravine.compile.plan import Host, Matrix, Sweep
from ravine.words import cols, eye, matrix_op, norm, rows, sqrt, zeros


@matrix_op
def orthogonal(x, steps=5):
    """Nearly the nearest orthogonal matrix."""
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


@matrix_op
def inverse_root(a, order=4):
    w, q = torch.linalg.eigh(a)
    return q * w.clamp(min=1e-12) ** (-1 / order) @ q.mT


@matrix_op
def careless(x):
    """Changes what it is given: its caller's tensors must not see it."""
    return x.mul_(2)


class Muon(Optimizer):
    """Momentum made orthogonal."""

    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 0.1
    steps: int = 5

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        s.m = self.momentum * s.m + (1 - self.momentum) * g
        u = orthogonal(g + self.momentum * (s.m - g), steps=self.steps)
        scale = sqrt(words.maximum(1, rows(p) / cols(p)))
        return (1 - self.lr * self.weight_decay) * p - self.lr * scale * u


class Shampoo(Optimizer):
    """Rows and columns preconditioned by past gradients; the step has the gradient's length."""

    lr: float = 0.1
    eps: float = 1e-2

    def init(self, s, p):
        s.L, s.R = self.eps * eye(rows(p)), self.eps * eye(cols(p))

    def update(self, s, p, g, t):
        s.L = s.L + g @ g.T
        s.R = 0.9 * s.R + g.T @ g
        u = inverse_root(s.L) @ g @ inverse_root(s.R)
        return p - self.lr * u * norm(g) / norm(u)


def muon(shape, gradients):
    p, m = torch.ones(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    r = shape[0] if shape else 1
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        u = orthogonal((g + 0.9 * (m - g)).reshape(r, -1)).reshape(shape)
        p = (1 - 0.02 * 0.1) * p - 0.02 * math.sqrt(max(1, r / (p.numel() / r))) * u
    return p


def shampoo(shape, gradients):
    p, r = torch.ones(shape, dtype=torch.float64), shape[0] if shape else 1
    c = p.numel() // r
    left, right = 1e-2 * torch.eye(r, dtype=torch.float64), 1e-2 * torch.eye(c, dtype=torch.float64)
    for g in gradients:
        g = g.reshape(r, c)
        left, right = left + g @ g.T, 0.9 * right + g.T @ g
        u = inverse_root(left) @ g @ inverse_root(right)
        p = p - (0.1 * u * g.norm() / u.norm()).reshape(shape)
    return p


@BACKENDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("cls", "plain"), [(Muon, muon), (Shampoo, shampoo)], ids=["muon", "shampoo"])
def test_matrix_rules_are_the_plain_loop(cls, plain, shape, backend):
    gradients = waves(shape)
    p, _ = run(cls, gradients, shape, backend)
    torch.testing.assert_close(p, plain(shape, gradients), rtol=1e-9, atol=1e-9)


def test_matrix_rules_over_many_tensors_and_odd_memory():
    params = [
        nn.Parameter(torch.ones(4, 3, dtype=torch.float64).t()),
        nn.Parameter(torch.ones(2, 5, dtype=torch.float64)),
    ]
    opt = Shampoo(params)
    gradients = [waves(p.shape) for p in params]
    for g in zip(*gradients, strict=True):
        for p, x in zip(params, g, strict=True):
            p.grad = torch.empty_like(p).copy_(x)  # in the parameter's order
        opt.step()
    for p, g in zip(params, gradients, strict=True):
        torch.testing.assert_close(p.detach(), shampoo(tuple(p.shape), g), rtol=1e-9, atol=1e-9)


@BACKENDS
@pytest.mark.parametrize("cls", [Muon, Shampoo])
def test_matrix_rules_save_and_load(cls, backend):
    gradients = waves((3, 4), 6)
    whole, _ = run(cls, gradients, backend=backend)
    half, opt = run(cls, gradients[:3], backend=backend)
    p = nn.Parameter(half.clone())
    other = cls([p], backend=backend)
    other.load_state_dict(opt.state_dict())
    for g in gradients[3:]:
        p.grad = g.clone()
        other.step()
    assert torch.equal(p, whole)


@BACKENDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_matrix_rules_in_other_types(backend, dtype):
    for cls in (Muon, Shampoo):
        p = nn.Parameter(torch.ones(3, 4, dtype=dtype))
        opt = cls([p], backend=backend, storage="float32")
        for g in waves((3, 4)):
            p.grad = g.to(dtype)
            opt.step()
        q, _ = run(cls, waves((3, 4)))
        assert (p.double() - q).abs().max() < (0.05 if dtype == torch.bfloat16 else 1e-4)


@BACKENDS
def test_matrix_work_that_writes_into_its_argument_harms_nobody(backend):
    cls = rule(lambda self, s, p, g, t: p - careless(g) - careless(g + p) - g)
    p = nn.Parameter(torch.ones(3, 4))
    p.grad = torch.full((3, 4), 0.5)
    cls([p], backend=backend).step()
    assert (p == 1 - 1 - 3 - 0.5).all() and (p.grad == 0.5).all()


@BACKENDS
def test_a_matrix_may_become_another_one_as_it_was_or_begin_anew(backend):
    class Chain(Optimizer):
        """s.K is what s.L was; s.N is made anew."""

        def init(self, s, p):
            s.L, s.K, s.N = 0.0 * eye(rows(p)), 0.0 * eye(rows(p)), 0.0 * eye(rows(p))

        def update(self, s, p, g, t):
            s.K = s.L
            s.L = s.L + g @ g.T
            s.N = eye(rows(p))
            return p - self.lr * (s.L @ g)

    _, opt = run(Chain, [torch.ones(2, 3)] * 3, (2, 3), backend)
    (state,) = opt.state.values()
    assert (state["L"] == 9).all() and (state["K"] == 6).all() and torch.equal(state["N"], torch.eye(2).double())


def test_kernels_and_matrix_work_alternate():
    assert [type(x) for x in compiled(Muon).plan.phases] == [Host, Sweep, Matrix, Sweep]
