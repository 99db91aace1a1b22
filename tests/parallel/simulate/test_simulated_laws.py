"""Closed forms that asynchronous training obeys, found again in simulated time."""

from functools import partial

import numpy as np
import pytest
import torch

import ravine
from ravine.parallel.rules import ElasticCenter
from ravine.parallel.simulate import Asynchronous, Cluster, Exponential, Quadratic, Synchronous, simulate
from ravine.parallel.simulate.world import World
from ravine.parallel.workers import AsyncElasticAveraging


class Bowl:
    """½ ‖x‖², many of them side by side, so that their mean path is an expectation."""

    def __init__(self, d=4):
        self.initial = [torch.ones(d, dtype=torch.float64)]

    def gradient(self, parameters, worker, step):
        return [parameters[0].detach().clone()]

    def loss(self, parameters):
        return float(parameters[0].detach().square().sum() / 2)


@pytest.mark.ci
@pytest.mark.parametrize("workers", [2, 4, 8, 16])
def test_asynchrony_is_momentum_of_one_minus_one_over_m(workers):
    """Mitliagkas et al. 2016, Theorem 3: with exponential times E Δw(t+1) = (1 − 1/M) E Δw(t) − (α/M) E ∇f(w(t))."""
    rate, steps = 0.05, 3 * workers + 4
    runs = 24_000 // steps
    world = World(Bowl(1), Asynchronous(partial(torch.optim.SGD, lr=rate)),
                  Cluster(workers, compute=Exponential(1.0)), watched=0)  # fmt: skip
    world.advance(0.0)
    site, paths = world.sites[0], np.ones((runs, steps + 1))
    for path in paths:
        with torch.no_grad():  # exponential times know nothing of the past: all may begin again at any time
            site.shard.params[0].fill_(1.0)
        for lane in world.lanes:
            lane.at[0].fill_(1.0)
        for t in range(1, steps + 1):
            world.advance(world.heap[0][0])
            path[t] = float(site.shard.params[0].detach())
    w, at = paths.mean(0), np.arange(1, steps)
    found, *_ = np.linalg.lstsq(np.stack([w[at] - w[at - 1], -w[at]], 1), w[at + 1] - w[at], rcond=None)
    assert abs(found[0] - (1 - 1 / workers)) < 0.01
    assert abs(found[1] - rate / workers) < 0.1 * rate / workers


def harmonic(n):
    return sum(1 / i for i in range(1, n + 1))


@pytest.mark.ci
@pytest.mark.parametrize("wait_for", [200, 160])
def test_a_synchronous_round_takes_the_kth_of_n_times(wait_for):
    """Dutta et al. 2018, Lemma 1: exponential times, K of n: E T = (H_n − H_{n−K}) / μ."""
    run = simulate(Quadratic(2, noise=0.0), Synchronous("sgd:lr=0.0", wait_for=wait_for),
                   Cluster(200, compute=Exponential(1.0)), pushes=600, samples=2, lanes=0)  # fmt: skip
    expected = harmonic(200) - harmonic(200 - wait_for)
    # the sum of 600 rounds has a standard deviation below 0.9 % of its mean
    assert abs(run.seconds / 600 / expected - 1) < 0.02


@pytest.mark.ci
def test_an_asynchronous_update_takes_one_nth_of_a_time():
    """Dutta et al. 2018, Lemma 3: n workers that compute without end make n / mean updates a second."""
    run = simulate(Quadratic(2, noise=0.0), Asynchronous("sgd:lr=0.0"),
                   Cluster(1000, compute=Exponential(1.0)), pushes=20_000, samples=2, lanes=0)  # fmt: skip
    assert abs(run.seconds / 20_000 * 1000 - 1) < 0.02


@pytest.mark.ci
def test_staleness_of_equals_is_the_number_of_others():
    run = simulate(Quadratic(2, noise=0.0), Asynchronous("sgd:lr=0.0"),
                   Cluster(32, compute=Exponential(1.0)), pushes=8000, samples=2, lanes=0)  # fmt: skip
    assert abs(run.mean_staleness / 31 - 1) < 0.02


def radius(workers, eta, alpha):
    """The growth of EASGD's round-robin map on ½ x²: Zhang et al. 2015, section 3, in plain numpy."""
    step = np.eye(workers + 1)
    for i in range(workers):
        one = np.eye(workers + 1)
        one[i, i], one[i, -1] = 1 - alpha - eta, alpha
        one[-1, i], one[-1, -1] = alpha, 1 - alpha
        step = one @ step
    return np.abs(np.linalg.eigvals(step)).max()


@pytest.mark.ci
@pytest.mark.parametrize("workers", [1, 3, 4, 8])
def test_round_robin_easgd_is_stable_where_the_paper_says(workers):
    """0 ≤ η ≤ 2 and 0 ≤ α ≤ (4 − 2η)/(4 − η): in numpy's eigenvalues, and in simulated runs of the real worker."""
    for eta in (0.1, 0.7, 1.3, 1.9):
        edge = (4 - 2 * eta) / (4 - eta)
        assert radius(workers, eta, 0.97 * edge) < 1 < radius(workers, eta, 1.03 * edge)
    eta, last = 1.3, []
    edge = (4 - 2 * eta) / (4 - eta)
    for alpha in (0.9 * edge, 1.1 * edge):
        method = Asynchronous(
            partial(ElasticCenter, alpha=alpha),
            lambda server, params: AsyncElasticAveraging(server, torch.optim.SGD(params, lr=eta), sync_every=1),
        )
        last.append(simulate(Bowl(), method, Cluster(workers), until=200.0, samples=4).divergence)
    assert last[0][-1] < 1e-3 and last[1][-1] > 1e3


def test_a_simulated_easgd_worker_is_the_papers_map():
    """To 1e-11, for 3 workers."""
    eta, alpha, workers = 0.3, 0.2, 3
    method = Asynchronous(
        partial(ElasticCenter, alpha=alpha),
        lambda server, params: AsyncElasticAveraging(server, torch.optim.SGD(params, lr=eta), sync_every=1),
    )
    world = World(Bowl(), method, Cluster(workers), watched=0)
    x, center = np.ones(workers), 1.0
    for turn in range(1, 8):
        world.advance(turn + 0.5)
        for i in range(workers):
            gradient, pull = x[i], alpha * (x[i] - center)
            x[i], center = x[i] - pull - eta * gradient, center + pull
    assert abs(float(world.center[0][0]) - center) < 1e-11
    for i in range(workers):
        assert abs(float(world.lanes[i].agent.parameters()[0].detach()[0]) - x[i]) < 1e-11


def test_one_worker_is_sequential_training():
    """Bit for bit torch's own optimizer."""
    problem = Quadratic(50, noise=0.1, dtype=torch.float64)
    run = simulate(problem, Asynchronous(partial(torch.optim.Adagrad, lr=0.1)), Cluster(1), pushes=30)
    p = torch.nn.Parameter(problem.initial[0].clone())
    opt = torch.optim.Adagrad([p], lr=0.1)
    for step in range(30):
        p.grad = problem.gradient([p], 0, step)[0]
        opt.step()
    assert torch.equal(run.parameters[0], p.detach())


def test_synchronous_rounds_are_large_batch_training():
    problem = Quadratic(50, noise=0.1, dtype=torch.float64)
    run = simulate(problem, Synchronous(partial(torch.optim.SGD, lr=0.5)), Cluster(4), pushes=10)
    local = Synchronous(partial(torch.optim.SGD, lr=1.0), local=partial(ravine.SGD, lr=0.5))
    one = simulate(problem, local, Cluster(4), pushes=10)
    p = torch.nn.Parameter(problem.initial[0].clone())
    opt = torch.optim.SGD([p], lr=0.5)
    for step in range(10):
        p.grad = torch.stack([problem.gradient([p], worker, step)[0] for worker in range(4)]).mean(0)
        opt.step()
    assert (run.parameters[0] - p.detach()).abs().max() < 1e-11
    assert (one.parameters[0] - p.detach()).abs().max() < 1e-11
