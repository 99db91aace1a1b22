"""The problems: gradients are those of autograd, minima are where they should be, noise has its moments."""

import pytest
import torch

from ravine.parallel.simulate import Problem, Quadratic, SparseLogistic, Training, digits


def slope(problem, x, parts):
    """The mean of autograd's gradients of a loss written out."""
    p = x.clone().requires_grad_()
    return torch.autograd.grad(parts(p), p)[0]


def test_the_quadratic_is_nesterovs():
    d = 7
    problem = Quadratic(d, noise=0.0, dtype=torch.float64)
    a = 0.25 * (2 * torch.eye(d) - torch.diag(torch.ones(d - 1), 1) - torch.diag(torch.ones(d - 1), -1)).double()
    b = torch.zeros(d, dtype=torch.float64)
    b[0] = 0.25
    x = torch.randn(d, dtype=torch.float64)
    best = torch.linalg.solve(a, b)

    def f(x):
        return x @ a @ x / 2 - b @ x

    assert (problem.gradient([x], 0, 0)[0] - slope(problem, x, f)).abs().max() < 1e-14
    assert abs(problem.loss([x]) - float(f(x) - f(best))) < 1e-14
    assert abs(problem.loss([best])) < 1e-15 and problem.initial[0][0] == d**0.5


def test_noise_has_its_moments_and_depends_on_who_and_when():
    problem = Quadratic(1000, noise=0.5, seed=3)
    still = Quadratic(1000, noise=0.0).gradient([torch.zeros(1000)], 0, 0)[0]
    drawn = torch.stack([problem.gradient([torch.zeros(1000)], i % 7, i)[0] - still for i in range(400)])
    assert abs(drawn.mean()) < 0.005 and abs(drawn.std() - 0.5) < 0.005
    one = problem.gradient([torch.zeros(1000)], 1, 2)[0]
    assert torch.equal(one, problem.gradient([torch.zeros(1000)], 1, 2)[0])
    for who, when in ((2, 1), (1, 3), (0, 2)):
        assert not torch.equal(one, problem.gradient([torch.zeros(1000)], who, when)[0])


def test_the_logistic_gradient_is_autograds():
    problem = SparseLogistic(50, 30, 4, dtype=torch.float64)
    x = torch.randn(30, dtype=torch.float64)
    design = torch.zeros(50, 30, dtype=torch.float64).scatter_(1, problem.index, 1.0)
    margins = design @ x * problem.labels
    assert abs(problem.loss([x]) - float(torch.nn.functional.softplus(-margins).mean())) < 1e-14
    expected = {tuple(row) for row in (
        -(problem.labels * torch.sigmoid(-margins))[:, None] * design).round(decimals=11).tolist()}  # fmt: skip
    for step in range(40):
        assert tuple(problem.gradient([x], 0, step)[0].round(decimals=11).tolist()) in expected


def test_a_model_of_ones_own():
    model = torch.nn.Linear(3, 1)
    x, y = torch.randn(8, 3), torch.randn(8, 1)
    problem = Training(model, lambda worker, step: (x[step : step + 1], y[step : step + 1]), (x, y),
                       torch.nn.functional.mse_loss)  # fmt: skip
    at = [torch.ones(1, 3), torch.zeros(1)]
    g = problem.gradient(at, 0, 2)
    error = x[2].sum() - y[2, 0]
    assert torch.allclose(g[0][0], 2 * error * x[2]) and torch.allclose(g[1], 2 * error)
    assert problem.loss(at) == pytest.approx(float(((x.sum(1, keepdim=True) - y) ** 2).mean()), rel=1e-6)
    assert [tuple(x.shape) for x in problem.initial] == [(1, 3), (1,)]


def test_every_problem_is_one():
    for problem in (Quadratic(4), SparseLogistic(10, 5, 2), digits(hidden=4)):
        assert isinstance(problem, Problem)
        g = problem.gradient(problem.initial, 0, 0)
        assert [x.shape for x in g] == [x.shape for x in problem.initial]
        assert problem.loss(problem.initial) > 0
