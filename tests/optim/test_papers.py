"""Facts that the papers state about their methods, seen in ravine's own steps."""

import math

import pytest
import torch

import ravine


def walk(make, gradients, start=0.0, rates=None, **hyper):
    """The parameter before the first step and after each, one row a step; `rates` sets lr before each."""
    p = torch.nn.Parameter(torch.as_tensor(start, dtype=torch.float64).clone())
    opt = make([p], **hyper)
    path = [p.detach().clone()]
    for t, g in enumerate(gradients):
        if rates is not None:
            opt.param_groups[0]["lr"] = rates[t]
        p.grad = g(p.detach()) if callable(g) else torch.as_tensor(g, dtype=torch.float64).expand_as(p).clone()
        opt.step()
        path.append(p.detach().clone())
    return torch.stack(path)


def same(a, b, tolerance=1e-12):
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    assert a.shape == b.shape
    gap = ((a - b).abs() / (1 + b.abs())).max().item()
    assert gap <= tolerance, f"{gap:.1e} apart"


def bowl(x):
    return torch.tensor([1.0, 0.3, 0.05], dtype=torch.float64) * x + 0.2 * torch.sin(4 * x)


START = [1.0, -2.0, 3.0]


# Momentum: one method, three ways to write it


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_three_forms_of_momentum_are_one_path(decay):
    lr, gamma = 0.05, 0.8
    common = {"momentum": gamma, "weight_decay": decay}
    polyak = walk(ravine.Momentum, [bowl] * 100, START, lr=lr, form="polyak", **common)
    heavy = walk(ravine.Momentum, [bowl] * 100, START, lr=lr, form="heavy_ball", **common)
    average = walk(ravine.Momentum, [bowl] * 100, START, lr=lr / (1 - gamma), form="average", **common)
    same(heavy, polyak)
    same(average, polyak)
    same(walk(ravine.SGD, [bowl] * 100, START, lr=lr, **common), polyak)


def test_a_changing_rate_parts_the_average_from_the_other_two():
    gamma, rates = 0.8, [0.05 / (1 + 0.1 * t) for t in range(100)]
    larger = [lr / (1 - gamma) for lr in rates]
    polyak = walk(ravine.Momentum, [bowl] * 100, START, rates, momentum=gamma, form="polyak")
    heavy = walk(ravine.Momentum, [bowl] * 100, START, rates, momentum=gamma, form="heavy_ball")
    average = walk(ravine.Momentum, [bowl] * 100, START, larger, momentum=gamma, form="average")
    same(heavy, polyak)
    assert (average - polyak).abs().max() > 1e-2


# Nesterov: the look-ahead is where the model is while it trains


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_both_forms_of_nag_are_one_path_and_it_is_the_one_of_shifted_variables(decay):
    lr, gamma = 0.05, 0.8
    common = {"momentum": gamma, "weight_decay": decay}
    heavy = walk(ravine.NAG, [bowl] * 100, START, lr=lr, form="heavy_ball", **common)
    average = walk(ravine.NAG, [bowl] * 100, START, lr=lr / (1 - gamma), form="average", **common)
    same(average, heavy)
    same(walk(ravine.SGD, [bowl] * 100, START, lr=lr, nesterov=True, **common), heavy)


@pytest.mark.parametrize("form", ["heavy_ball", "average"])
def test_nag_gives_theta_after_eval(form):
    """One step from v = 0: θ has moved by ηg (or η(1 − γ)g), the look-ahead by 1 + γ times that."""
    lr, gamma, g = 0.1, 0.8, 3.0
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    opt = ravine.NAG([p], lr=lr, momentum=gamma, form=form)
    p.grad = torch.full_like(p, g)
    opt.step()
    moved = lr * g if form == "heavy_ball" else lr * (1 - gamma) * g
    same(p.detach(), -(1 + gamma) * moved)
    opt.eval()
    same(p.detach(), -moved)
    opt.train()
    same(p.detach(), -(1 + gamma) * moved)


# Adagrad and Rprop


def test_adagrad_on_a_constant_gradient_steps_as_one_over_root_t():
    path = walk(ravine.Adagrad, [7.0] * 50, lr=0.1, eps=0.0)
    same(path.diff(), [-0.1 / math.sqrt(t) for t in range(1, 51)])


def test_rprop_reads_signs_only():
    """Steps of lr, then growing by η⁺; at a turn the size shrinks by η⁻ and the weight waits a step."""
    for scale in (1.0, 1e6):
        path = walk(ravine.Rprop, [scale * g for g in (1.0, 3.0, 0.5, -2.0, -1.0, -1.0)], lr=0.1)
        same(path.diff(), [-0.1, -0.12, -0.144, 0.0, 0.072, 0.0864])


# Adam: section 2.1, "careful choice of stepsizes"

BETAS = [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)]


def test_adams_first_step_is_the_rate_whatever_the_gradient():
    for g in (1e-3, 1.0, -1e3):
        same(walk(ravine.Adam, [g], lr=0.01, eps=0.0).diff(), [-math.copysign(0.01, g)])


def test_adam_does_not_see_the_gradients_scale():
    g = torch.randn(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64).tolist()
    same(walk(ravine.Adam, [1e4 * x for x in g], eps=0.0), walk(ravine.Adam, g, eps=0.0))


@pytest.mark.parametrize("betas", BETAS)
def test_adams_step_after_silence_is_the_papers_bound(betas):
    """A gradient that was 0 until now, the paper's most sparse case: α (1 − β₁)/√(1 − β₂)."""
    (b1, b2), silence = betas, 200
    t = silence + 1
    step = walk(ravine.Adam, [0.0] * silence + [5.0], lr=0.01, betas=betas).diff()[-1]
    same(step, -0.01 * (1 - b1) / math.sqrt(1 - b2) * math.sqrt(1 - b2**t) / (1 - b1**t), 1e-8)


@pytest.mark.parametrize("betas", BETAS)
def test_adams_largest_step(betas):
    """What no step exceeds is |m̂|/√v̂ ≤ √(Σ w²/u), by Cauchy and Schwarz, for the weights w of m̂ and u of v̂.

    That is more than the paper's bound: 7.3 against 3.2 for the default betas. Gradients that grow by β₂/β₁
    a step reach it.
    """
    (b1, b2), steps = betas, 80

    def limit(t):
        w = [(1 - b1) * b1**k / (1 - b1**t) for k in range(t)]
        u = [(1 - b2) * b2**k / (1 - b2**t) for k in range(t)]
        return math.sqrt(sum(x * x / y for x, y in zip(w, u, strict=True)))

    limits = torch.tensor([limit(t) for t in range(1, steps + 1)], dtype=torch.float64)
    for seed in range(5):
        rng = torch.Generator().manual_seed(seed)
        g = torch.randn(steps, generator=rng, dtype=torch.float64) ** 5  # mostly quiet, sometimes loud
        path = walk(ravine.Adam, g.tolist(), lr=1.0, betas=betas, eps=0.0)
        assert (path.diff().abs() <= limits * (1 + 1e-12)).all()
    if b1 > 0:
        growing = [1e-9 * (b2 / b1) ** t for t in range(steps)]
        path = walk(ravine.Adam, growing, lr=1.0, betas=betas, eps=0.0)
        same(path.diff(), -limits, 1e-9)


# AMSGrad: Theorem 1 of Reddi et al. 2018


def reddi(make, **hyper):
    """f_t(x) = Cx where t mod 3 = 1, else −x, on [−1, 1]: −1 is best. β₂ = 1/(1 + C²), α_t = α/√t."""
    C, alpha = 3.0, 0.5
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    opt = make([p], betas=(0.0, 1 / (1 + C**2)), **hyper)
    for t in range(1, 2001):
        opt.param_groups[0]["lr"] = alpha / math.sqrt(t)
        p.grad = torch.full_like(p, C if t % 3 == 1 else -1.0)
        opt.step()
        with torch.no_grad():
            p.clamp_(-1, 1)
    return p.item()


def test_adam_goes_to_the_wrong_end_of_reddis_example_and_amsgrad_to_the_right_one():
    assert reddi(ravine.Adam, bias_correction=False) > 0.97
    assert reddi(ravine.AMSGrad) < -0.97


# RAdam: on a constant gradient m̂ = g and l = 1/|g|, so a rectified step is −lr r_t and nothing else


def rectified(steps, beta2, threshold=4.0, **hyper):
    """r_t for t = 1 … steps, 0 where the step was skipped."""
    hyper = {"lr": 1.0, "eps": 0.0, "fallback": "skip"} | hyper
    path = walk(ravine.RAdam, [1.0] * steps, betas=(0.9, beta2), threshold=threshold, **hyper)
    return -path.diff()


def r_of(rho, rho_inf):
    return math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))


def test_radam_starts_to_rectify_at_the_fifth_step_for_the_papers_threshold_and_the_sixth_for_torchs():
    assert [x > 0 for x in rectified(7, 0.999, threshold=4.0)] == [False] * 4 + [True] * 3
    assert [x > 0 for x in rectified(7, 0.999, threshold=5.0)] == [False] * 5 + [True] * 2


def test_radams_rho_is_one_at_the_first_step():
    """The exponential average of one number has length 1, whatever β₂."""
    for beta2 in (0.9, 0.99, 0.999):
        assert rectified(1, beta2, threshold=1 + 1e-6) == 0
        same(rectified(1, beta2, threshold=1 - 1e-6), [r_of(1.0, 2 / (1 - beta2) - 1)], 1e-9)


def test_radams_rectification_for_a_short_memory():
    """β₂ = 0.99: ρ_∞ = 199, r₅₀₀ = 0.983, r₁₀₀₀ = 0.9998, and it only grows."""
    r = rectified(1000, 0.99)
    assert round(r[499].item(), 3) == 0.983
    assert round(r[999].item(), 4) == 0.9998
    assert (r.diff() >= 0).all()
    assert r.max() < 1
    rho = 199 - 2 * 100 * 0.99**100 / (1 - 0.99**100)
    same(r[99], r_of(rho, 199.0), 1e-9)


def test_radam_below_the_threshold_is_momentum_or_stands_still():
    g = [3.0, -1.0, 2.0, 0.5]
    momentum = walk(ravine.RAdam, g, lr=0.1, betas=(0.9, 0.999))
    m, expected = 0.0, []
    for t, x in enumerate(g, 1):
        m = 0.9 * m + 0.1 * x
        expected.append(-0.1 * m / (1 - 0.9**t))
    same(momentum.diff(), expected)
    still = walk(ravine.RAdam, g, 1.0, fallback="skip", weight_decay=0.1, decoupled_weight_decay=True)
    assert (still == 1.0).all()


@pytest.mark.parametrize("beta2", [0.3, 0.6])
def test_radam_with_too_short_a_memory_never_rectifies(beta2):
    """ρ_∞ ≤ 4 (β₂ = 0.6 makes it 4, where the rectification would divide by zero)."""
    assert (rectified(50, beta2) == 0).all()
    same(rectified(50, beta2, fallback="momentum"), torch.ones(50), 1e-12)


# LAMB: Algorithm 2 with φ(z) = z


def test_lambs_step_is_as_long_as_the_weights_say():
    rng = torch.Generator().manual_seed(4)
    g = [1e3**i * torch.randn(4, 5, generator=rng, dtype=torch.float64) for i in (-1, 0, 1)]
    path = walk(ravine.LAMB, g, torch.ones(4, 5), lr=0.01, weight_decay=0.1)
    same(path.diff(dim=0).norm(dim=(1, 2)), 0.01 * path[:-1].norm(dim=(1, 2)))


def test_lamb_leaves_zero_weights_by_adams_step():
    same(walk(ravine.LAMB, [2.0], lr=0.01, eps=0.0).diff(), [-0.01])
    assert (walk(ravine.LAMB, [0.0] * 3, 1.0) == 1.0).all()
