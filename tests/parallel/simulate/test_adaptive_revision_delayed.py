"""McMahan & Streeter 2014, section 5: what delays do to AdaGrad, and AdaptiveRevision does about it."""

from functools import partial

import pytest
import torch

from ravine.parallel.rules import AdaptiveRevision, AsyncAdaGrad, DualAveragingAdaGrad
from ravine.parallel.simulate import Asynchronous, Cluster, Constant, SparseLogistic, simulate


def late_loss(rule, lr, delay, steps, problem):
    """The mean loss in the second half of a run whose every gradient is `delay` steps late."""
    cluster = Cluster(delay + 1, Constant(1.0))  # all come in turn
    run = simulate(problem, Asynchronous(partial(rule, lr=lr)), cluster, pushes=steps, samples=20, lanes=0)
    assert set(run.staleness) <= {*range(delay + 1)}
    if steps > 2 * delay:
        assert run.staleness[delay] >= steps - delay - 1
    half = [x for v, x in zip(run.versions, run.losses, strict=True) if v > steps / 2]
    return sum(half) / len(half)


def test_without_delay_it_is_asyncadagrad():
    """To rounding: the terms that vanish are computed all the same."""
    problem = SparseLogistic(300, 100, 5, dtype=torch.float64)
    runs = [
        simulate(problem, Asynchronous(partial(rule, lr=0.6)), Cluster(1), pushes=500)
        for rule in (AsyncAdaGrad, AdaptiveRevision, DualAveragingAdaGrad)
    ]
    one, revised, averaged = (run.parameters[0] for run in runs)
    assert (one - revised).abs().max() < 1e-11 < (one - averaged).abs().max()


@pytest.mark.ci
def test_with_a_delay_of_a_thousand_it_is_better_at_the_best_rate_of_each():
    problem = SparseLogistic(1000, 300, 8)
    best = {
        rule: min(late_loss(rule, lr, 1000, 5000, problem) for lr in (0.03, 0.1, 0.3))
        for rule in (AsyncAdaGrad, DualAveragingAdaGrad)
    }
    best[AdaptiveRevision] = min(late_loss(AdaptiveRevision, lr, 1000, 5000, problem) for lr in (0.1, 0.3, 0.6))
    assert best[AdaptiveRevision] < min(best[AsyncAdaGrad], best[DualAveragingAdaGrad])
