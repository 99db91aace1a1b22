"""A rule that takes the diagonal of the Hessian, as AdaHessian does."""

import pytest
import torch
from torch import nn

import ravine
from ravine.sources import Hutchinson
from ravine.words import root, zeros

BACKENDS = pytest.mark.parametrize("backend", ["llvm", "reference"])


class AdaHessian(ravine.Optimizer):
    """Adam with the Hessian's diagonal in the place of g² (Yao et al. 2021)."""

    inputs = {"h": "r c"}
    lr: float = 0.1

    def init(self, s, p):
        s.m, s.v = zeros(p), zeros(p, positive=True)

    def update(self, s, p, g, t, h):
        s.m, s.v = 0.9 * s.m + 0.1 * g, 0.99 * s.v + 0.01 * h**2
        return p - self.lr * s.m / (1 - 0.9**t) / root(s.v / (1 - 0.99**t), 1e-8, False)


def diagonal(f, p):
    return torch.autograd.functional.hessian(f, p.detach()).diagonal()


@BACKENDS
def test_it_is_adahessian_with_the_exact_diagonal(backend):
    """Where the Hessian is diagonal, z ⊙ Hz is its diagonal whatever z."""
    p, q = (nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)) for _ in range(2))

    def f(x):
        return (x**4 + torch.tensor([1.0, 3.0, 9.0]) * x**2).sum()

    source = Hutchinson()
    opt, m, v = AdaHessian([p], backend=backend, sources=[source]), 0.0, 0.0
    for t in range(1, 6):
        opt.zero_grad()
        source.backward(f(p))
        opt.step()
        (g,) = torch.autograd.grad(f(q), q)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * diagonal(f, q) ** 2
        q.data -= 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
        torch.testing.assert_close(p, q)
        assert p.grad.grad_fn is None


def test_many_samples_are_near_the_hessian_of_a_network():
    model, x = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), torch.randn(16, 2)
    source = Hutchinson(samples=3000)
    opt = AdaHessian(model.parameters(), lr=0.0, sources=[source])
    source.backward(model(x).square().mean())
    opt.step()
    for name, p in model.named_parameters():

        def loss(at, name=name, shape=p.shape):
            return torch.func.functional_call(model, {name: at.view(shape)}, x).square().mean()

        want = diagonal(loss, p.flatten()).view(p.shape)
        assert (opt.state[p]["h"] - want).abs().max() < 0.15 * max(1.0, want.abs().max()), name
