"""Products of matrices: symmetric ones in bands, sums with them in one pass; states that are read where they lie."""

import pytest
import torch
from torch import nn

from ravine import Optimizer
from ravine.compile import interpret
from ravine.compile.products import symmetric, triangular
from ravine.words import eye, zeros

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])


def waves(shape, count):
    made = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(count)]


def steps(cls, shape, backend, count):
    """The parameter after some steps from ones, and its state."""
    p = nn.Parameter(torch.ones(shape, dtype=torch.float64))
    opt = cls([p], backend=backend)
    for g in waves(shape, count):
        p.grad = g
        opt.step()
    return p.detach(), opt.state[p]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("n", [383, 384, 400, 1537])
def test_symmetric_products_are_the_whole_ones(n, dtype):
    made = torch.Generator().manual_seed(0)
    x = (torch.randn(n, 40, generator=made) / 8).to(dtype)
    near = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {}
    gram = symmetric(x, x.mT)
    torch.testing.assert_close(gram, x @ x.mT, **near)
    whole = torch.addmm(gram, gram, gram, beta=0.5, alpha=-2.0)
    torch.testing.assert_close(symmetric(gram, gram, gram, beta=0.5, alpha=-2.0), whole, **near)
    tall = x.mT.contiguous().mT
    torch.testing.assert_close(symmetric(tall, tall.mT), gram, **near)


def test_symmetric_products_that_autograd_watches_have_a_gradient():
    x = torch.randn(400, 3, requires_grad=True)
    symmetric(x, x.mT).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach().sum(0).expand(400, 3))


@pytest.mark.parametrize("n", [383, 400, 1537])
@pytest.mark.parametrize("turned", [False, True])
def test_products_of_triangular_matrices_are_the_whole_ones(n, turned):
    made = torch.Generator().manual_seed(0)
    q = torch.randn(n, n, generator=made, dtype=torch.float64).triu()
    x = torch.randn(n, 7, generator=made, dtype=torch.float64)
    torch.testing.assert_close(triangular(q, x, turned), (q.mT if turned else q) @ x)


@BACKENDS
def test_states_of_matrices_are_written_when_all_have_read_them(backend):
    """They are read where they lie: what is exchanged, transposed or stays must not see what is written first."""

    class Exchanged(Optimizer):
        def init(self, s, p):
            s.A, s.B, s.C, s.n = eye("r"), zeros("r r"), eye("r"), zeros("r r")

        def update(self, s, p, g, t):
            old = s.A
            s.A, s.B, s.C = s.B.T, s.A + g @ g.T, s.C
            s.n = old.T
            return p - 0.1 * (old @ g)

    p, state = steps(Exchanged, (3, 4), backend, 4)
    a, b, n = torch.eye(3).double(), torch.zeros(3, 3).double(), torch.zeros(3, 3).double()
    moved = []
    for g in waves((3, 4), 4):
        moved.append(a @ g)
        a, b, n = b.T, a + g @ g.T, a.T
    torch.testing.assert_close(state["A"], a)
    torch.testing.assert_close(state["B"], b)
    torch.testing.assert_close(state["n"], n)
    assert torch.equal(state["C"], torch.eye(3).double())
    torch.testing.assert_close(p, 1 - 0.1 * sum(moved))


@BACKENDS
@pytest.mark.parametrize("shape", [(400, 5), (5, 400)])
def test_what_is_gathered_is_added_in_one_pass(backend, shape, monkeypatch):
    """β A + α g gᵀ is one product, whether α and β are there or not, and A is itself where it is wanted elsewhere."""

    class Gathered(Optimizer):
        def init(self, s, p):
            s.A, s.B, s.C = eye("r"), eye("c"), eye("r")

        def update(self, s, p, g, t):
            s.A = 0.9 * s.A + 0.25 * (g @ g.T)
            s.B = g.T @ g + s.B
            twice = 0.5 * (s.C @ s.C)
            s.C = s.C + twice + 0 * twice
            return p - 0.1 * (s.A @ g @ s.B)

    asked = []
    whole = interpret.added
    monkeypatch.setattr(interpret, "added", lambda *a, **k: asked.append(a) or whole(*a, **k))
    banded = interpret.symmetric
    monkeypatch.setattr(interpret, "symmetric", lambda *a, **k: asked.append(a) or banded(*a, **k))
    _, state = steps(Gathered, shape, backend, 3)
    a, b, c = torch.eye(shape[0]).double(), torch.eye(shape[1]).double(), torch.eye(shape[0]).double()
    for g in waves(shape, 3):
        a, b, c = 0.9 * a + 0.25 * (g @ g.T), g.T @ g + b, c + 0.5 * (c @ c)
    torch.testing.assert_close(state["A"], a)
    torch.testing.assert_close(state["B"], b)
    torch.testing.assert_close(state["C"], c)
    assert sum(len(x) == 3 for x in asked) == 6, "A and B, three steps"
