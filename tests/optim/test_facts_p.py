"""What holds of options that no one else's code has, and of very small numbers: seen by hand or by a law of scale."""

import math

import pytest
import torch

import ravine

D = torch.float64


def noise(steps, size=3, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=rng, dtype=D) for _ in range(steps)]


def walk(make, gradients, start=(1.0, -2.0, 3.0), rates=None, **hyper):
    """The parameter before the first step and after each."""
    p = torch.nn.Parameter(torch.tensor(start, dtype=D))
    opt = make([p], backend="reference", **hyper)
    path = [p.detach().clone()]
    for t, g in enumerate(gradients):
        if rates:
            opt.param_groups[0]["lr"] = rates[t]
        p.grad = torch.as_tensor(g, dtype=D).expand_as(p).clone()
        opt.step()
        path.append(p.detach().clone())
    return torch.stack(path)


def same(a, b, tolerance=1e-12):
    gap = (torch.as_tensor(a, dtype=D) - torch.as_tensor(b, dtype=D)).abs().max().item()
    assert gap <= tolerance, f"{gap:.1e} apart"


# corrections of the bias, left out: the corrected path at rates that take them away again

B1, B2, LR, N = 0.8, 0.95, 0.01, 12
C1, C2 = ([1 - b**t for t in range(1, N + 1)] for b in (B1, B2))
COMMON = {"betas": (B1, B2), "eps": 0.0}


@pytest.mark.parametrize("make", [ravine.Adam, ravine.Adamax])
def test_without_its_corrections_a_method_is_itself_at_other_rates(make):
    g = noise(N)
    rates = [LR * c1 / (1 if make is ravine.Adamax else math.sqrt(c2)) for c1, c2 in zip(C1, C2, strict=True)]
    same(walk(make, g, lr=LR, bias_correction=False, **COMMON), walk(make, g, rates=rates, **COMMON))


def rho(t):
    return 2 / (1 - B2) - 1 - 2 * t * B2**t / (1 - B2**t)


def test_radam_without_its_corrections():
    g = noise(N)
    rates = [LR * (c1 / math.sqrt(c2) if rho(t + 1) > 5 else c1) for t, (c1, c2) in enumerate(zip(C1, C2, strict=True))]
    same(walk(ravine.RAdam, g, lr=LR, bias_correction=False, **COMMON), walk(ravine.RAdam, g, rates=rates, **COMMON))


@pytest.mark.parametrize("threshold", [4.0, 5.0])
def test_radam_that_skips_makes_the_same_steps_once_it_may(threshold):
    g, hyper = noise(N), {"lr": LR, "threshold": threshold, **COMMON}
    skips = walk(ravine.RAdam, g, fallback="skip", weight_decay=0.1, **hyper).diff(dim=0)
    waits = sum(rho(t) <= threshold for t in range(1, N + 1))
    assert 0 < waits < N and (skips[:waits] == 0).all() and (skips[waits:] != 0).all()
    plain, skips = (walk(ravine.RAdam, g, fallback=x, **hyper).diff(dim=0) for x in ("momentum", "skip"))
    same(plain[waits:], skips[waits:])


def test_adamaxs_epsilon_outside_is_added_to_u():
    same(walk(ravine.Adamax, [2.0], [0.0], lr=0.1, eps=0.5, eps_inside=False)[-1], [-0.1 * 2 / (2 + 0.5)])


def test_nadam_with_a_constant_beta_is_nadam_whose_warm_up_is_over():
    g = noise(N)
    hyper = {"lr": LR, "betas": (B1, B2)}
    same(walk(ravine.NAdam, g, constant_beta=True, **hyper), walk(ravine.NAdam, g, momentum_decay=1e6, **hyper))


def test_nadams_first_steps_without_corrections():
    path = walk(ravine.NAdam, [1.0, 1.0], [0.0], lr=LR, bias_correction=False, constant_beta=True, **COMMON)
    first = LR * (1 - B1) * (1 + B1) / math.sqrt(1 - B2)
    second = LR * (1 - B1) * (B1 + B1 * B1 + 1) / math.sqrt(1 - B2**2)
    same(path[:, 0], [0.0, -first, -first - second])


# Yogi: v begins at g², or without corrections


def test_yogi_that_begins_v_at_the_gradient():
    """v₁ = 4, v₂ = 4 − 0.05 · 1 since 4 > 1, neither corrected; m̂ is."""
    path = walk(ravine.Yogi, [2.0, 1.0], [0.0], lr=0.1, betas=(B1, B2), eps=0.0, v_from_gradient=True)
    first = 0.1 * 2 / 2
    m = (B1 * (1 - B1) * 2 + (1 - B1)) / (1 - B1**2)
    same(path[:, 0], [0.0, -first, -first - 0.1 * m / math.sqrt(4 - (1 - B2))])


def test_yogi_without_corrections():
    """v₀ = 0.5 grows by (1 − β₂) g² = 0.2."""
    hyper = {"lr": 0.1, "betas": (B1, B2), "eps": 0.0, "initial_accumulator": 0.5, "bias_correction": False}
    same(walk(ravine.Yogi, [2.0], [0.0], **hyper)[-1], [-0.1 * (1 - B1) * 2 / math.sqrt(0.5 + (1 - B2) * 4)])


# very small gradients and weights: thresholds at 0 are at 0

SMALL = 1e-6
UNSCALED = [  # methods whose path is the same when all gradients are scaled, without ε
    (ravine.NovoGrad, {"eps": 0.0}),
    (ravine.NovoGrad, {"eps": 0.0, "amsgrad": True}),
    (ravine.LAMB, {"eps": 0.0}),
    (ravine.LARS, {"lr": 0.1}),
    (ravine.Lion, {}),
    (ravine.Signum, {}),
    (ravine.Adagrad, {"eps": 0.0}),
    (ravine.AdamP, {"eps": 1e-200}),
    (ravine.SM3, {}),
    (ravine.SM3, {"variant": "I"}),
    (ravine.StableAdamW, {"eps": 1e-200, "weight_decay": 0.0}),
    (ravine.Adafactor, {"form": "paper", "eps": (1e-200, 1e-3)}),
    (ravine.CAME, {"eps": (1e-200, 1e-16)}),
    (ravine.Prodigy, {"eps": 1e-200}),
    (ravine.Rprop, {}),
    (ravine.DAdaptSGD, {"d0": 1e-3}),
    (ravine.DAdaptAdam, {"d0": 1e-3, "eps": 1e-200}),
    (ravine.DoG, {"eps": 1e-200}),
    (ravine.LDoG, {"eps": 1e-200}),
    (ravine.DoWG, {"eps": 0.0}),
]


@pytest.mark.parametrize(("make", "hyper"), UNSCALED, ids=lambda x: getattr(x, "__name__", None) or "-".join(x))
def test_small_gradients_move_as_far_as_large_ones(make, hyper):
    start = [[1.0, -2.0, 3.0], [0.5, 1.5, -1.0]]
    g = noise(20, size=(2, 3))
    one, other = (walk(make, [scale * x for x in g], start, **hyper) for scale in (1.0, SMALL))
    same(one, other, 1e-9)
    assert (one[0] != one[2]).any()


@pytest.mark.parametrize("make", [ravine.LAMB, ravine.LARS])
def test_small_weights_move_by_as_little_as_they_are(make):
    g = noise(20)
    hyper = {"eps": 0.0, "lr": 0.1}
    one = walk(make, g, **hyper)
    same(one, walk(make, g, [SMALL * x for x in (1.0, -2.0, 3.0)], **hyper) / SMALL, 1e-9)


def test_mars_leaves_gradients_shorter_than_one_as_they_are():
    same(walk(ravine.MARS, [0.5], [0.0], lr=0.1, gamma=0.0, eps=1.0)[-1], [-0.1 * 0.5 / 1.5])


def test_madgrad_without_epsilon_stands_where_nothing_was_seen_and_moves_at_the_smallest_gradient():
    for momentum in (0.0, 0.9):
        path = walk(ravine.MADGRAD, [torch.tensor([0.0, 1e-9])] * 3, [1.0, 1.0], lr=0.1, momentum=momentum, eps=0.0)
        assert (path[:, 0] == 1.0).all() and (path[1:, 1] < path[:-1, 1]).all()
    first = 1.0 - (0.1 * 1e-9) / (0.1 * 1e-18) ** (1 / 3)
    same(walk(ravine.MADGRAD, [1e-9], [1.0], lr=0.1, momentum=0.0, eps=0.0)[-1], [first], 1e-15)


@pytest.mark.parametrize("make", [ravine.Prodigy, ravine.DAdaptSGD, ravine.DAdaptAdam])
def test_the_first_estimate_stays_while_there_is_no_gradient(make):
    p = torch.nn.Parameter(torch.ones(2, dtype=D))
    opt = make([p], d0=1e-3, backend="reference")
    for _ in range(3):
        p.grad = torch.zeros_like(p)
        opt.step()
    assert opt.state[p]["d"] == 1e-3


def test_stable_adamws_rms_divides_by_epsilon_squared_where_v_is_less():
    """g = 0, then 2: v = 4 / (1 + β₂) < ε² = 3.24, and m = 2 / (1 + β₁)."""
    hyper = {"betas": (B1, B2), "eps": 1.8, "lr": 0.1, "weight_decay": 0.0}
    rate = 0.1 / math.sqrt(4 / 1.8**2)
    step = rate * 2 / (1 + B1) / (math.sqrt(4 / (1 + B2)) + 1.8)
    same(walk(ravine.StableAdamW, [0.0, 2.0], [0.0], **hyper)[-1], [-step])


def test_dadapt_sgd_waits_for_a_gradient_its_decay_too():
    path = walk(ravine.DAdaptSGD, [0.0, 0.0, 1.0], d0=0.1, weight_decay=0.1)
    assert (path[:3] == path[0]).all() and (path[3] != path[0]).all()


def test_sm3_ones_bounds_are_sums_of_the_largest():
    """R = 4, 16 and C = 9, 16, twice that at the second step."""
    g = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=D)
    path = walk(ravine.SM3, [g] * 2, [[0.0, 0.0], [0.0, 0.0]], lr=0.1, variant="I", momentum=0.0)
    first = -0.1 * torch.tensor([[1 / 2, 1.0], [1.0, 1.0]], dtype=D)
    same(path[1], first)
    same(path[2] - path[1], first / math.sqrt(2))


def test_sm3_stands_where_nothing_was_seen():
    g = torch.tensor([[0.0, 0.0], [0.0, 1e-9]])
    for variant in ("I", "II"):
        path = walk(ravine.SM3, [g] * 2, [[1.0, 1.0], [1.0, 1.0]], lr=0.1, variant=variant, momentum=0.0)
        assert (path[-1][g == 0] == 1.0).all() and path[-1][1, 1] < 1.0


def momo(make, gradients, loss, scale=1.0, **hyper):
    """The path where the loss is always this number, and it and the gradients are scaled."""
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=D))
    opt = make([p], backend="reference", **hyper)
    path = [p.detach().clone()]
    for g in gradients:
        p.grad = scale * g
        opt.step(loss=scale * loss)
        path.append(p.detach().clone())
    return torch.stack(path)


@pytest.mark.parametrize("make", [ravine.MoMo, ravine.MoMoAdam])
def test_momos_step_does_not_know_the_unit_of_the_loss(make):
    hyper = {"lr": 1e12} if make is ravine.MoMo else {"lr": 1e12, "eps": 1e-200}
    one, other = (momo(make, noise(10), 3.0, scale, **hyper) for scale in (1.0, SMALL))
    same(one, other, 1e-9)
    assert (one[0] != one[-1]).all()


@pytest.mark.parametrize("make", [ravine.MoMo, ravine.MoMoAdam])
def test_momo_stands_where_the_loss_cannot_fall(make):
    path = momo(make, [torch.ones(3, dtype=D)], 0.5, lr=1.0, lb=1.0)
    assert (path[1] == path[0]).all()


def test_dogs_given_first_step_is_the_first_alone_however_short():
    path = walk(ravine.DoG, [1.0, 1.0], [0.0], lr=1.0, init_eta=1e-4, eps=1e-200)
    same(path[:, 0], [0.0, -1e-4, -1e-4 - 1e-4 / math.sqrt(2)])
