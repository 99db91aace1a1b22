"""Facts that the papers state about QHM, AggMo, signSGD, LARS, SGDW, ASGD, Adam-2k and Adam-eps."""

import math

import pytest
import torch

import ravine


def noise(steps, size=3, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=rng, dtype=torch.float64) for _ in range(steps)]


def run(make, gradients, start=(1.0, -2.0, 3.0), rates=None, **hyper):
    """The parameter before the first step and after each, and the optimizer."""
    p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    opt = make([p], **hyper)
    path = [p.detach().clone()]
    for t, g in enumerate(gradients):
        if rates:
            opt.param_groups[0]["lr"] = rates[t]
        p.grad = g.double()
        opt.step()
        path.append(p.detach().clone())
    return torch.stack(path), opt


def walk(make, gradients, *args, **hyper):
    return run(make, gradients, *args, **hyper)[0]


def same(a, b, tolerance=1e-12):
    assert a.shape == b.shape
    gap = (a - b).abs().max().item()
    assert gap <= tolerance, f"{gap:.1e} apart"


# QHM and QHAdam: section 2 and table 1


def test_qhm_holds_sgd_momentum_and_nesterov():
    g, lr, beta = noise(60), 0.1, 0.8
    same(walk(ravine.QHM, g, lr=lr, momentum=beta, nu=0.0), walk(ravine.SGD, g, lr=lr))
    average = walk(ravine.Momentum, g, lr=lr, momentum=beta, form="average")
    same(walk(ravine.QHM, g, lr=lr, momentum=beta, nu=1.0), average)
    nesterov = walk(ravine.SGD, g, lr=lr * (1 - beta), momentum=beta, nesterov=True)
    same(walk(ravine.QHM, g, lr=lr, momentum=beta, nu=beta), nesterov)


def test_qhadam_holds_adam_and_steps_by_signs_without_memory():
    g = noise(60)
    same(walk(ravine.QHAdam, g), walk(ravine.Adam, g))
    signs = walk(ravine.QHAdam, g, nus=(0.0, 0.0), eps=0.0, lr=0.01)
    same(signs, walk(ravine.SignSGD, g, lr=0.01))


def test_qhadams_means_are_the_gradient_where_it_stays_whatever_the_betas_do():
    p = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    opt = ravine.QHAdam([p])
    for t in range(20):
        opt.param_groups[0]["betas"] = (0.5 + 0.02 * t, 0.99 - 0.01 * t)
        p.grad = torch.full_like(p, 3.0)
        opt.step()
        same(opt.state[p]["m"], torch.full_like(p, 3.0))
        same(opt.state[p]["v"], torch.full_like(p, 9.0))


# AggMo: section 3


def test_aggmo_of_one_beta_is_momentum_and_of_equal_ones_too():
    g = noise(60)
    momentum = walk(ravine.SGD, g, lr=0.01, momentum=0.9)
    for betas in ((0.9,), (0.9, 0.9), (0.9, 0.9, 0.9)):
        same(walk(ravine.AggMo, g, lr=0.01, betas=betas), momentum)


def test_aggmo_holds_nesterov():
    """β = (0, γ) and twice the rate: section 3.1."""
    g = noise(60)
    same(
        walk(ravine.AggMo, g, lr=0.02, betas=(0.0, 0.9)),
        walk(ravine.SGD, g, lr=0.01, momentum=0.9) + walk(ravine.SGD, g, lr=0.01) - torch.tensor([1.0, -2.0, 3.0]),
    )


def test_aggmo_without_betas_is_refused():
    with pytest.raises(ValueError, match="AggMo: betas is empty"):
        ravine.AggMo([torch.zeros(1)], betas=())


# signSGD and Signum


def test_sign_steps_are_all_of_one_length_and_momentum_has_a_say():
    g = noise(40, size=50)
    start = [0.0] * 50
    plain, signum = (walk(c, g, start, lr=0.01) for c in (ravine.SignSGD, ravine.Signum))
    for path in (plain, signum):
        same(path.diff(dim=0).abs(), torch.full((40, 50), 0.01, dtype=torch.float64))
    turned = lambda path: (path.diff(dim=0).sign().diff(dim=0) != 0).double().mean()  # noqa: E731
    assert turned(plain) > 0.4
    assert turned(signum) < 0.25
    same(walk(ravine.Signum, g, start, lr=0.01, momentum=0.0), plain)


# LARS


@pytest.mark.parametrize("denominator", ["sum", "decayed", "gradient"])
def test_every_step_of_lars_is_as_long_as_the_weights_the_first_too(denominator):
    hyper = {"lr": 2.0, "trust_coefficient": 0.01, "momentum": 0.0, "denominator": denominator}
    path = walk(ravine.LARS, [1e3 * g for g in noise(20)], **hyper)
    same(path.diff(dim=0).norm(dim=1), 0.02 * path[:-1].norm(dim=1))


def test_the_rate_of_lars_is_inside_its_momentum():
    """After the rate falls to 0 the ball rolls on; with the rate outside it would stop."""
    path = walk(ravine.LARS, noise(2), rates=[1.0, 0.0], momentum=0.9)
    same(path[2] - path[1], 0.9 * (path[1] - path[0]))


def test_lars_leaves_zero_weights_by_a_gradient_step():
    same(walk(ravine.LARS, [torch.ones(1)], [0.0], lr=0.1)[-1], torch.tensor([-0.1], dtype=torch.float64))


# SGDW


def test_sgdws_decay_does_not_pass_through_the_momentum():
    """Without gradients the weights shrink by one factor; L2 gathers in the momentum."""
    still = [torch.zeros(3)] * 30
    start = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    shrunk = walk(ravine.SGDW, still, lr=0.1, weight_decay=0.2)
    same(shrunk, torch.stack([start * 0.98**t for t in range(31)]))
    assert (walk(ravine.Momentum, still, lr=0.1, weight_decay=0.2) - shrunk).abs().max() > 0.5


def test_sgdw_without_decay_is_momentum_under_any_schedule():
    g, rates = noise(60), [0.1 / (1 + 0.3 * t) for t in range(60)]
    same(walk(ravine.SGDW, g, rates=rates, weight_decay=0.0), walk(ravine.Momentum, g, rates=rates))


# ASGD


def test_asgds_average_is_the_mean_of_the_path_after_t0():
    t0, steps, hyper = 10, 40, {"lr": 0.05, "lambd": 0.0}
    path, plain = run(ravine.ASGD, noise(steps), t0=float(t0), **hyper)
    mean = path[t0 + 2 :].mean(dim=0)  # of the weights that the steps after t₀ + 1 made
    same(plain.state[plain.param_groups[0]["params"][0]]["ax"], mean)
    same(path, walk(ravine.SGD, noise(steps), lr=0.05))
    p = plain.param_groups[0]["params"][0]
    plain.eval()
    same(p.detach(), mean)
    plain.train()
    assert torch.equal(p.detach(), path[-1])


# Adam-2k and Adam-eps: section 3.1 of the RAdam paper


def test_adam2k_stands_still_for_2000_steps_then_moves_with_what_it_saw():
    p = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    opt = ravine.Adam2k([p], lr=0.01, weight_decay=0.5)
    for _ in range(2001):
        assert p.item() == 1.0
        p.grad = torch.full_like(p, 4.0)
        opt.step()
    assert math.isclose(1 - p.item(), 0.01 * (0.1 + 0.5), rel_tol=1e-7)  # m̂ / √v̂ is 0.1: m is new, v is not


def test_adameps_is_adam_with_an_epsilon_that_counts_most_at_first():
    g = noise(60)
    same(walk(ravine.AdamEps, g, eps=0.0), walk(ravine.Adam, g, eps=0.0))
    small = [torch.full((1,), 1e-3, dtype=torch.float64)] * 4000
    steps = -walk(ravine.AdamEps, small, [0.0], lr=1.0).diff(dim=0).flatten()
    ratio = 1e-3 / (1e-3 + 1e-4 / math.sqrt(1 - 0.999))
    assert math.isclose(steps[0].item(), ratio, rel_tol=1e-9)
    assert (steps.diff() > 0).all()
    assert math.isclose(steps[-1].item(), 1 / 1.1, rel_tol=5e-3)


# LAMB's options


def test_lambs_clipped_ratio_shortens_and_never_lengthens():
    g = noise(30, size=20)
    for size, clipped in ((1e-3, False), (10.0, True)):
        start = [size] * 20
        a, b = (walk(ravine.LAMB, g, start, lr=1e-3, trust_clip=clip) for clip in (False, True))
        assert torch.equal(a, b) != clipped


def test_lamb_that_need_not_adapt_is_adam_without_decay():
    g = noise(30)
    same(walk(ravine.LAMB, g, always_adapt=False, eps=1e-8), walk(ravine.Adam, g))
