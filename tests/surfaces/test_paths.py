"""Paths are those of a training loop that is written by hand, bit for bit, alone and in company."""

import numpy as np
import pytest
import torch

import ravine
from ravine.catalog.names import beyond_the_loss
from ravine.optim import registry
from ravine.strategies import SAM
from ravine.surfaces import NAMES, Run, Surface, descend, find

DENSE = {name: cls for name, cls in registry().items() if cls.dense and not beyond_the_loss(cls)}
STEPS = 12


def loop(surface, run, steps):
    """Points and losses as a plain loop makes them."""
    p = torch.nn.Parameter(surface.begin(torch.tensor([run.start], dtype=torch.float64))[0])
    opt = run.optimizer([p], **run.settings)
    chance = surface.chance(steps + 1, torch.Generator().manual_seed(run.seed))
    points, losses = [], []
    for t in range(steps + 1):
        opt.zero_grad()
        loss = surface.objective(p[None], torch.tensor(t), None if chance is None else chance[t : t + 1])[0]
        loss.backward()
        points.append(surface.seen(p.detach().clone()).tolist())
        losses.append(loss.item())
        if isinstance(opt, ravine.optimizer.Optimizer):
            opt.step(loss=loss)
        else:
            opt.step()
        with torch.no_grad():
            surface.project(p[None])
    return points, losses


def same(path, surface, run, steps=STEPS):
    points, losses = loop(surface, run, steps)
    near = 1e-12 if getattr(run.optimizer, "matrices", False) else 0.0  # of torch: where memory begins counts
    np.testing.assert_allclose(path.points, points, rtol=near)
    np.testing.assert_allclose(path.losses, losses, rtol=near)


@pytest.mark.parametrize("name", DENSE)
def test_every_optimizer_walks_as_in_a_loop_by_hand_alone_and_in_company(name):
    beale = find("beale")
    runs = [Run(DENSE[name], {"lr": lr}, start) for lr in (0.01, 0.03) for start in ((1.0, 1.5), (-0.7, 0.9))]
    others = [Run(ravine.Adam, {"lr": 0.1}, (2.0, 0.1)), Run(ravine.LAMB, {}, (0.3, 0.4))]
    for path, run in zip(descend(beale, [*runs, *others], STEPS), [*runs, *others], strict=True):
        same(path, beale, run)


class Turns(Surface):
    """What a step goes down is decided by Python."""

    def loss(self, x, y):
        return x**2 + 3 * y**2

    def objective(self, parameters, t, chance=None):
        x, y = parameters.unbind(-1)
        return self.loss(x, y) if t % 3 else self.loss(y, x)


def test_a_surface_may_decide_by_the_step():
    run = Run(ravine.Momentum, {"lr": 0.01}, (1.0, -1.5))
    (path,) = descend(Turns(), [run], STEPS)
    same(path, Turns(), run)


def test_settings_that_look_alike_are_kept_apart():
    rates = torch.tensor(0.12345, dtype=torch.float64), torch.tensor(0.12346, dtype=torch.float64)
    runs = [Run(cls, {"lr": lr}, (1.0, 1.5)) for cls in (ravine.Adam, torch.optim.Adam) for lr in rates]
    for path, run in zip(descend(find("quadratic"), runs, STEPS), runs, strict=True):
        same(path, find("quadratic"), run)


def test_who_looks_at_its_tensor_alone_shares_an_optimizer(monkeypatch):
    made = []
    counted = type("Counted", (ravine.LAMB,), {"__init__": lambda self, *a, **k: made.append(self) or
                                               ravine.LAMB.__init__(self, *a, **k)})  # fmt: skip
    runs = [Run(counted, {"lr": lr}, (1.0, y)) for lr in (0.01, 0.1) for y in (0.3, -0.4, 0.9)]
    for path, run in zip(descend(find("beale"), runs, STEPS), runs, strict=True):
        same(path, find("beale"), Run(ravine.LAMB, run.settings, run.start))
    assert len(made) == 3  # one of each setting to be looked at, and the one that moves all


@pytest.mark.parametrize("name", NAMES)
def test_every_surface_is_walked_as_in_a_loop_by_hand(name):
    surface = find(name)
    x, y = surface.start
    starts = [(x, y), (0.9 * x + 0.01, y - 0.1), (x, 0.5 * y)]
    runs = [Run(cls, {"lr": 1e-3}, at, seed) for cls in (ravine.SGD, ravine.Adam) for seed, at in enumerate(starts)]
    for path, run in zip(descend(surface, runs, STEPS), runs, strict=True):
        same(path, surface, run)


def test_a_plain_loop_over_the_loss_is_the_same():
    beale = find("beale")
    p = torch.nn.Parameter(torch.tensor(beale.start, dtype=torch.float64))
    opt = ravine.Adam([p], lr=0.1)
    for _ in range(50):
        opt.zero_grad()
        beale.loss(*p).backward()
        opt.step()
    (path,) = descend(beale, [Run(ravine.Adam, {"lr": 0.1}, beale.start)], 50)
    assert path.points[-1].tolist() == p.tolist()


def test_torchs_optimizers_walk_too():
    beale, run = find("beale"), Run(torch.optim.Adam, {"lr": 0.05}, (1.0, 1.5))
    (path,) = descend(beale, [run], STEPS)
    same(path, beale, run)
    assert path.evaluations.tolist() == list(range(STEPS + 1))


def test_sam_asks_for_two_gradients_a_step():
    beale = find("beale")

    def sam(params, **settings):
        return SAM(ravine.SGD(params, **settings), rho=0.1)

    path, plain = descend(beale, [Run(make, {"lr": 0.01}, beale.start) for make in (sam, ravine.SGD)], STEPS)
    assert path.evaluations.tolist() == list(range(0, 2 * STEPS + 1, 2))
    assert plain.evaluations.tolist() == list(range(STEPS + 1))
    p = torch.nn.Parameter(torch.tensor(beale.start, dtype=torch.float64))
    opt = sam([p], lr=0.01)
    for _ in range(STEPS):
        beale.loss(*p).backward()
        opt.first_step(zero_grad=True)
        beale.loss(*p).backward()
        opt.second_step(zero_grad=True)
    assert path.points[-1].tolist() == p.tolist()
    assert path.points[-1].tolist() != plain.points[-1].tolist()


def test_gradients_are_those_of_the_points_and_losses_too():
    himmelblau = find("himmelblau")
    (path,) = descend(himmelblau, [Run(ravine.NAG, {"lr": 1e-3}, (0.5, -0.5))], STEPS)
    p = torch.tensor(path.points, requires_grad=True)
    losses = himmelblau.loss(*p.unbind(-1))
    assert path.losses.tolist() == losses.tolist()
    assert path.gradients.tolist() == torch.autograd.grad(losses.sum(), p)[0].tolist()


def test_momentum_is_what_the_rule_keeps():
    bowl = find("bowl")
    runs = [Run(ravine.Momentum, {"lr": 0.1}, bowl.start), Run(ravine.SGD, {"lr": 0.1}, bowl.start),
            Run(ravine.Adam, {"lr": 0.1}, bowl.start), Run(ravine.LAMB, {"lr": 0.1}, bowl.start)]  # fmt: skip
    heavy, plain, adam, lamb = descend(bowl, runs, STEPS, momentum=True)
    assert plain.momentum is None
    assert heavy.momentum is not None and adam.momentum is not None and lamb.momentum is not None
    v = np.zeros(2)
    for t in range(STEPS):
        np.testing.assert_allclose(heavy.momentum[t], v, rtol=1e-12)
        v = 0.9 * v + 0.1 * heavy.gradients[t]  # the paper's v has lr in it
        np.testing.assert_allclose(adam.momentum[t + 1], 0.9 * adam.momentum[t] + 0.1 * adam.gradients[t], rtol=1e-12)
    assert lamb.momentum[0].tolist() == [0, 0] and (lamb.momentum[1] != 0).all()
    assert all(path.momentum is None for path in descend(bowl, runs, STEPS))


def test_noise_is_of_the_seed_and_of_nothing_else():
    noisy = find("noisy-quadratic")
    runs = [Run(ravine.SGD, {"lr": 0.1}, noisy.start, seed) for seed in (0, 1, 0)]
    a, b, c = descend(noisy, runs, STEPS)
    (alone,) = descend(noisy, runs[:1], 2 * STEPS)
    assert a.points.tolist() == c.points.tolist() == alone.points[: STEPS + 1].tolist()
    assert a.points[1].tolist() != b.points[1].tolist()


def test_what_diverges_is_said_to_and_leaves_the_others_alone():
    beale = find("beale")
    far, near = Run(ravine.SGD, {"lr": 1.0}, (3.0, 3.0)), Run(ravine.SGD, {"lr": 1e-3}, beale.start)
    gone, here = descend(beale, [far, near], 50)
    assert gone.diverged and not here.diverged
    assert here.points.tolist() == descend(beale, [near], 50)[0].points.tolist()
    (slow,) = descend(find("bowl"), [Run(ravine.SGD, {"lr": 0.8}, (-5.0, -2.0))], 50)
    assert slow.diverged and np.isfinite(slow.points).all()


def test_no_steps_are_an_error():
    with pytest.raises(ValueError, match="steps is 0; it must be at least 1"):
        descend(find("beale"), [], 0)


@pytest.mark.parametrize("name", ["nag", "schedulefreeadamw", "adam", "momo"])
def test_what_is_shown_are_the_weights_to_evaluate(name):
    surface, run = find("beale"), Run(DENSE[name], {"lr": 0.001}, (1.0, 1.5))
    company = Run(DENSE[name], {"lr": 0.002}, (0.5, 0.5))
    path, _ = descend(surface, [run, company], STEPS, shown=True)
    p = torch.nn.Parameter(torch.tensor(run.start, dtype=torch.float64))
    opt = run.optimizer([p], **run.settings)
    for t in range(STEPS + 1):
        opt.eval()
        assert path.shown[t].tolist() == p.tolist()
        assert path.shown_losses[t] == surface.loss(*p).item()
        opt.train()
        opt.zero_grad()
        loss = surface.loss(*p)
        loss.backward()
        opt.step(loss=loss)
    differ = name in ("nag", "schedulefreeadamw")
    assert (path.shown.tolist() != path.points.tolist()) == differ
