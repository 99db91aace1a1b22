"""What papers prove about their methods, seen in ravine's own steps: averages, bounds, regret, variance."""

import math

import pytest
import torch

import ravine


def path(make, gradients, start=0.0, **hyper):
    """The parameter after each step, in float64; the optimizer too."""
    p = torch.nn.Parameter(torch.as_tensor(start, dtype=torch.float64).clone())
    opt, out = make([p], **hyper), []
    for g in gradients:
        p.grad = torch.as_tensor(g, dtype=torch.float64).expand_as(p).clone()
        opt.step()
        out.append(p.detach().clone())
    return torch.stack(out), opt, p


# averages


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_the_first_moment_is_short_of_the_mean_by_one_minus_beta_to_the_t(beta):
    """E[m] = (1 − βᵗ) E[g] before correction (Kingma & Ba, section 3), for noise around a mean, over many weights."""
    mean, n = 2.0, 100_000
    made = torch.Generator().manual_seed(0)
    p = torch.nn.Parameter(torch.zeros(n, dtype=torch.float64))
    opt = ravine.Adam([p], betas=(beta, 0.999))
    for t in range(1, 7):
        p.grad = mean + torch.randn(n, generator=made, dtype=torch.float64)
        opt.step()
        m = opt.state[p]["exp_avg"]
        assert abs(m.mean() / ((1 - beta**t) * mean) - 1) < 0.01
        assert abs((m / (1 - beta**t)).mean() / mean - 1) < 0.01


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_an_average_is_as_old_as_a_window_of_two_over_one_minus_beta_less_one(beta):
    """The mean age of what an exponential average holds is that of the last 2 / (1 − β) − 1 values: RAdam's ρ∞."""
    steps = int(40 / (1 - beta))
    # gradients that tell their time: what the average holds is the mean time
    _, opt, p = path(ravine.Momentum, [float(t) for t in range(steps)], lr=1.0, momentum=beta, form="average")
    age = (steps - 1) - opt.state[p]["v"].item()
    window = 2 / (1 - beta) - 1
    assert abs(age - (window - 1) / 2) < 1e-6 * window


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_momentums_terminal_step_is_the_rate_over_one_minus_gamma(gamma):
    steps, _, _ = path(ravine.Momentum, [1.0] * 400, lr=0.1, momentum=gamma)
    assert abs((steps[-2] - steps[-1]) / (0.1 / (1 - gamma)) - 1) < 1e-9


# bounds


def test_rmsprop_without_memory_is_sign_descent():
    """With v = g² the step is lr g / |g|."""
    made = torch.Generator().manual_seed(0)
    gradients = torch.randn(50, 7, generator=made, dtype=torch.float64)
    steps, _, _ = path(ravine.RMSprop, gradients, torch.zeros(7), lr=0.01, alpha=0.0, eps=0.0)
    signs, _, _ = path(ravine.SignSGD, gradients, torch.zeros(7), lr=0.01)
    assert (steps - signs).abs().max() < 1e-12


def rates(make, gradients, **hyper):
    """The rate of every step, lr / √v̂, read off as step over m where β₁ = 0: m is the gradient."""
    steps, _, _ = path(make, gradients, lr=0.1, betas=(0.0, 0.9), eps=0.0, **hyper)
    return -torch.diff(steps, prepend=torch.zeros(1, dtype=torch.float64)) / torch.tensor(gradients).double()


def test_amsgrads_rate_never_grows_and_adams_does():
    made = torch.Generator().manual_seed(1)
    gradients = (torch.randn(300, generator=made) ** 3 + 1e-3).tolist()  # mostly quiet, sometimes loud
    assert (torch.diff(rates(ravine.AMSGrad, gradients)) <= 1e-7).all()
    assert (torch.diff(rates(ravine.Adam, gradients, bias_correction=False)) > 1e-3).any()


# regret: losses |w·x − y| on a stream, beside the best w in hindsight


def regret(make, steps, density, **hyper):
    """Σ f_t(w_t) − Σ f_t(w*), for features that are rarely non-zero and targets made by w*."""
    made = torch.Generator().manual_seed(3)
    d = len(density)
    x = torch.randn(steps, d, generator=made, dtype=torch.float64) * (
        torch.rand(steps, d, generator=made, dtype=torch.float64) < density
    )
    best = torch.where(torch.rand(d, generator=made) < 0.5, -1.0, 1.0).double()
    w = torch.nn.Parameter(torch.zeros(d, dtype=torch.float64))
    opt, total, seen = make([w], **hyper), 0.0, []
    for t in range(steps):
        opt.zero_grad()
        loss = (w @ x[t] - best @ x[t]).abs()  # 0 at w*: the regret is the sum of losses
        loss.backward()
        opt.step()
        total += loss.item()
        seen.append(total)
    return seen


@pytest.mark.ci
def test_adagrads_regret_grows_like_the_root_of_time_and_is_below_sgds_on_rare_features():
    """Duchi et al. 2011, corollary 1: O(√T); and the example of section 1.3, features of very different frequency."""
    density = torch.logspace(0, -2, 30, dtype=torch.float64)
    seen = regret(ravine.Adagrad, 2000, density, lr=0.5)
    for t in (250, 500, 1000):  # √2 for a doubling of time; linear growth would be 2
        assert seen[2 * t - 1] / seen[t - 1] < 1.1 * math.sqrt(2)

    class Falling:  # SGD with the rate c / √t that its own bound asks for, at the best of many c
        def __init__(self, c):
            self.c = c

        def __call__(self, params, **hyper):
            opt = ravine.SGD(params, lr=self.c)
            falls = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: 1 / math.sqrt(1 + t))
            opt.register_step_post_hook(lambda *_: falls.step())
            return opt

    sgd = min(regret(Falling(c), 2000, density)[-1] for c in (0.3, 1.0, 3.0))
    assert seen[-1] < 0.8 * sgd


# RAdam: the variance that it rectifies


@pytest.mark.parametrize("rho", [8, 20, 60])
def test_the_variance_of_the_adaptive_rate_by_monte_carlo(rho):
    """Var[√(ρ / Σg²)] for ρ normal gradients is near ρ / (2 (ρ − 2)(ρ − 4) σ²) (Liu et al. 2020, equation 3, first
    order in a Taylor series), and it falls as ρ grows: why the first steps must be small."""
    sigma, made = 0.7, torch.Generator().manual_seed(0)
    g = sigma * torch.randn(200_000, rho, generator=made, dtype=torch.float64)
    psi2 = rho / g.square().sum(1)  # scaled inverse χ²
    formula = rho / (2 * (rho - 2) * (rho - 4) * sigma**2)
    assert abs(psi2.sqrt().var() / formula - 1) < 3 / rho
    if rho > 8:  # where psi² has a fourth moment: the two moments that the formula is made of
        assert abs(psi2.var() / (4 * psi2.mean()) / formula - 1) < 0.03
    # and what RAdam multiplies with brings it to the variance at ρ∞: r² formula(ρ) = formula(ρ∞)
    far = 1999.0
    r2 = (rho - 4) * (rho - 2) * far / ((far - 4) * (far - 2) * rho)
    assert abs(r2 * formula / (far / (2 * (far - 2) * (far - 4) * sigma**2)) - 1) < 1e-12
