"""Facts that the papers state about Prodigy, D-Adaptation, DoG, DoWG and MoMo."""

import math

import pytest
import torch

import ravine

START = torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)


def descend(cls, steps, slope=lambda x: x, start=START, loss=None, **hyper):
    """The weights after each step down a function with this gradient, and the optimizer."""
    p = torch.nn.Parameter(start.clone())
    opt = cls([p], **hyper)
    path = [p.detach().clone()]
    for _ in range(steps):
        p.grad = slope(p.detach())
        opt.step(**({"loss": loss(p.detach())} if loss else {}))
        path.append(p.detach().clone())
    return torch.stack(path), opt


def number(opt, name):
    return opt.state[opt.param_groups[0]["params"][0]][name].item()


# D-Adaptation and Prodigy: what d can be


@pytest.mark.parametrize("d0", [1e-6, 1e-3])
def test_d_grows_to_the_distance_and_not_far_beyond(d0):
    """On ‖x − x*‖, which is convex: Σ λ ⟨g, s⟩ / ‖s‖ is at most the distance, and d̂ is twice that."""
    goal = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    path, opt = descend(ravine.DAdaptSGD, 300, lambda x: (x - goal) / (x - goal).norm(), d0=d0)
    distance = (START - goal).norm().item()
    assert 0.1 * distance < number(opt, "d") <= 2 * distance
    assert (path[-1] - goal).norm() < 0.8 * distance


@pytest.mark.parametrize("cls", [ravine.Prodigy, ravine.DAdaptAdam])
def test_d_never_falls_and_the_first_step_is_d0_long(cls):
    path, _ = descend(cls, 1, d0=1e-3, betas=(0.0, 0.0), eps=1e-30)
    assert torch.allclose((path[1] - path[0]).abs(), torch.full_like(START, 1e-3), rtol=1e-10)
    seen = []
    for steps in range(1, 40):
        seen.append(number(descend(cls, steps, d0=1e-3)[1], "d"))
    assert seen == sorted(seen) and seen[-1] > 2 * seen[0]


@pytest.mark.parametrize("cls", [ravine.DAdaptSGD, ravine.DAdaptAdam])
def test_d_grows_no_faster_than_it_may(cls):
    for steps in (3, 9):
        assert number(descend(cls, steps, d0=1e-3, growth_rate=1.02)[1], "d") <= 1e-3 * 1.02**steps * (1 + 1e-12)
    _, opt = descend(cls, 40, d0=1e-3, growth_rate=1.0)
    assert number(opt, "d") == 1e-3


def test_prodigy_leaves_d0_in_one_leap_and_then_grows_as_it_may():
    _, free = descend(ravine.Prodigy, 3, d0=1e-3)
    for steps in (3, 4, 8):
        _, held = descend(ravine.Prodigy, steps, d0=1e-3, growth_rate=1.02)
        assert number(held, "d") > 1.02**steps * 1e-3
        assert number(held, "d") <= number(free, "d") * 1.02 ** (steps - 1)


STILL = {"d0": 1e-2, "d_coef": 1e-9, "betas": (0.8, 0.9)}  # d̂ is too small for d to leave d₀


@pytest.mark.parametrize("correct", [False, True])
def test_prodigy_with_a_small_d_coef_is_adam(correct):
    """With lr d₀, and without bias correction unless asked for; with it ε would be corrected too, so it is left out."""
    decay, eps = (0.0, 1e-30) if correct else (0.1, 1e-6)
    a, opt = descend(ravine.Prodigy, 20, use_bias_correction=correct, weight_decay=decay, eps=eps, **STILL)
    like = {"betas": (0.8, 0.9), "weight_decay": decay, "eps": eps, "decoupled_weight_decay": True}
    b, _ = descend(ravine.Adam, 20, lr=1e-2, bias_correction=correct, **like)
    assert number(opt, "d") == 1e-2
    assert torch.allclose(a, b, rtol=0, atol=1e-12)


def test_bias_correction_counts_every_step_once():
    """Under a constant gradient Adam's corrections leave steps of d₀ exactly; counted twice they would not."""
    path, _ = descend(ravine.Prodigy, 5, torch.ones_like, use_bias_correction=True, eps=1e-30, **STILL)
    assert torch.allclose(path[1:] - path[:-1], torch.full_like(path[1:], -1e-2), rtol=1e-9, atol=0)


@pytest.mark.parametrize("cls", [ravine.Prodigy, ravine.DAdaptSGD, ravine.DAdaptAdam, ravine.DoG, ravine.DoWG])
def test_groups_are_one_vector_and_a_latecomer_takes_over_what_is_found(cls):
    a, b = (torch.nn.Parameter(x.clone()) for x in (START, -START))
    opt = cls([{"params": [a]}, {"params": [b]}])
    for t in range(30):
        a.grad, b.grad = a.detach().clone(), b.detach().clone() if t >= 20 else None
        opt.step()
    found = {"d", "r", "dmax", "g0", "G", "v"} & opt.state[a].keys()
    for k in [k for k in found if not opt.state[a][k].shape]:
        assert opt.state[a][k] == opt.state[b][k]
    assert a.isfinite().all() and b.isfinite().all()


# DoG, section 3.1, and DoWG, section 4: no unit of length or slope is built in


@pytest.mark.parametrize("cls", [ravine.DoG, ravine.LDoG, ravine.DoWG])
def test_the_gradients_unit_does_not_matter(cls):
    plain, large = (descend(cls, 60, lambda x, c=c: c * x, eps=1e-40)[0] for c in (1.0, 1e6))
    assert torch.allclose(plain, large, rtol=1e-9)


def test_ldog_is_dog_on_one_tensor_and_not_on_two():
    assert torch.equal(descend(ravine.DoG, 20)[0], descend(ravine.LDoG, 20)[0])
    ends = []
    for cls in (ravine.DoG, ravine.LDoG):
        params = [torch.nn.Parameter(c * START) for c in (1.0, 5.0)]
        opt = cls(params, reps_rel=1e-2)
        for _ in range(20):
            for p in params:
                p.grad = p.detach().clone()
            opt.step()
        ends.append(params[0].detach())
    assert not torch.allclose(*ends)


def test_dog_begins_with_the_step_it_is_told():
    for hyper, long in (
        ({"reps_rel": 1e-3}, 1e-3 * (1 + START.norm().item())),
        ({"init_eta": 0.1}, 0.1 * START.norm()),
    ):
        path, _ = descend(ravine.DoG, 1, eps=1e-30, **hyper)
        assert math.isclose((path[1] - path[0]).norm(), long, rel_tol=1e-12)


def test_what_begins_with_silence_begins_later():
    """All gradients 0 at first: nothing moves, nothing is divided by 0, and it goes on as if it began then."""
    for cls in (ravine.DAdaptSGD, ravine.DoG, ravine.LDoG, ravine.DoWG):
        silent = torch.nn.Parameter(START.clone())
        opt = cls([silent], **({"init_eta": 0.01} if "DoG" in cls.__name__ else {}))
        for t in range(23):
            silent.grad = silent.detach() if t >= 3 else torch.zeros(3, dtype=torch.float64)
            opt.step()
        path, _ = descend(cls, 20, **({"init_eta": 0.01} if "DoG" in cls.__name__ else {}))
        assert torch.allclose(silent.detach(), path[-1], rtol=1e-12)


# MoMo, section 3: without momentum it is SGD with Polyak's step, and a large lr bounds nothing


def test_momo_without_momentum_is_polyaks_step():
    path, _ = descend(ravine.MoMo, 1, loss=lambda x: x.square().sum() / 2, beta=0.0, lr=100.0)
    assert torch.allclose(path[1], START / 2)  # the loss over ‖g‖², of half a square


def test_momo_with_a_small_rate_is_momentum():
    """With lr far below what the loss allows it takes lr, and is momentum that averages its gradients."""
    a, _ = descend(ravine.MoMo, 30, loss=lambda x: 1e3, bias_correction=False, lr=1e-3, beta=0.8)
    m, p = START.clone(), START.clone()
    for t in range(30):
        m = 0.8 * m + 0.2 * p if t else p.clone()
        p = p - 1e-3 * m
    assert torch.allclose(a[-1], p, rtol=1e-12)


def test_momo_adam_with_a_small_rate_is_adam():
    a, _ = descend(ravine.MoMoAdam, 30, loss=lambda x: 1e3, lr=1e-3, weight_decay=0.1, divide=False)
    b, _ = descend(ravine.AdamW, 30, lr=1e-3, weight_decay=0.1)
    assert torch.allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", [ravine.MoMo, ravine.MoMoAdam])
def test_momo_stands_still_where_the_loss_is_at_its_bound(cls):
    path, _ = descend(cls, 3, loss=lambda x: 1.0, lb=1e3)
    assert torch.equal(path[-1], START)


@pytest.mark.parametrize("cls", [ravine.MoMo, ravine.MoMoAdam])
def test_momo_goes_up_the_negative_loss(cls):
    down, _ = descend(cls, 20, loss=lambda x: x.square().sum() / 2, weight_decay=0.1)
    up, _ = descend(cls, 20, lambda x: -x, loss=lambda x: -x.square().sum() / 2, weight_decay=0.1, maximize=True)
    assert torch.allclose(down, up, rtol=1e-12)


# ScheduleFree+, Algorithm 1: Polyak's step against the absolute sum of the gradients


def plus(cls, gradients, losses, start=(2.0, -1.0), **hyper):
    """The weights to train with and to evaluate after each step, and the optimizer."""
    p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    opt = cls([p], **{"eps": 1e-200} | hyper)
    train, evaluate = [p.detach().clone()], [p.detach().clone()]
    for g, loss in zip(gradients, losses, strict=True):
        p.grad = torch.as_tensor(g, dtype=torch.float64).clone()
        opt.step(loss=loss)
        train.append(p.detach().clone())
        opt.eval()
        evaluate.append(p.detach().clone())
        opt.train()
    return torch.stack(train), torch.stack(evaluate), opt


@pytest.mark.parametrize("eps", [1e-200, 0.25])
def test_the_first_step_of_schedule_free_plus_is_the_loss_over_the_slope(eps):
    """γ = lr loss / (√(π/2) Σ|g|), along g / (|g| + ε)."""
    g = torch.tensor([3.0, -0.5], dtype=torch.float64)
    train, evaluate, _ = plus(ravine.ScheduleFreePlus, [g.tolist()], [7.0], lr=0.5, eps=eps)
    gamma = 0.5 * 7.0 / (math.sqrt(math.pi / 2) * 3.5)
    torch.testing.assert_close(train[0] - train[1], gamma * g / (g.abs() + eps))
    torch.testing.assert_close(evaluate, train)  # all three sequences are one after the first step


def test_schedule_free_plus_in_its_warm_up_is_adam_with_that_rate():
    """c = 1 puts x, y and z at one place, so of equal gradients and losses γ is one rate."""
    gradients = [[1.0, -3.0], [-3.0, 1.0], [2.0, 2.0], [0.5, 3.5]] * 3
    train, _, _ = plus(ravine.ScheduleFreePlus, gradients, [5.0] * 12, c_warmup=12, betas=(0.8, 0.9), polyak_beta=0.7)
    p = torch.nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    opt = ravine.Adam([p], lr=5.0 / (math.sqrt(math.pi / 2) * 4.0), betas=(0.8, 0.9), eps=1e-200)
    for g, found in zip(gradients, train[1:], strict=True):
        p.grad = torch.tensor(g, dtype=torch.float64)
        opt.step()
        torch.testing.assert_close(found, p.detach(), rtol=1e-12, atol=1e-12)


def test_after_the_warm_up_schedule_free_plus_averages_all_points_alike():
    """Of one γ: with r = 0 and no interpolation x is the mean of z, of the steps after c_warmup."""
    for warm in (0, 3):
        train, evaluate, _ = plus(ravine.ScheduleFreePlus, [[1.0, -1.0]] * 8, [4.0] * 8, sf_beta1=0.0, c_warmup=warm)
        torch.testing.assert_close(evaluate[-1], train[1 + warm :].mean(0), rtol=1e-12, atol=1e-12)
    train, evaluate, _ = plus(ravine.ScheduleFreePlus, [[1.0, -1.0]] * 8, [4.0] * 8, sf_beta1=0.0, r=2.0)
    weights = torch.arange(1, 9, dtype=torch.float64)[:, None] ** 2
    torch.testing.assert_close(evaluate[-1], (weights * train[1:]).sum(0) / weights.sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_weights_of_schedule_free_plus_are_powers_of_the_largest_rate(power):
    losses = [1e-4, 3e-4, 2e-4, 5e-4]
    train, evaluate, _ = plus(ravine.ScheduleFreePlus, [[1.0, -1.0]] * 4, losses, sf_beta1=0.0, weight_lr_power=power)
    weights = torch.tensor([1.0, 3.0, 3.0, 5.0], dtype=torch.float64)[:, None] ** power
    torch.testing.assert_close(evaluate[-1], (weights * train[1:]).sum(0) / weights.sum(), rtol=1e-12, atol=1e-12)


def test_schedule_free_plus_counts_the_way_from_x_to_z_to_the_loss():
    """γ = (loss + β ⟨g, z − x⟩) / slope, and none where that is negative."""
    g, beta = torch.tensor([1.0, -1.0], dtype=torch.float64), 0.5
    train, evaluate, _ = plus(ravine.ScheduleFreePlus, [g.tolist()] * 3, [4.0, 4.0, 1.0], sf_beta1=beta)
    z = (train - beta * evaluate) / (1 - beta)
    slope = math.sqrt(math.pi / 2) * 2
    for t, loss in enumerate([4.0, 4.0, 1.0]):
        left = loss + beta * torch.dot(g, z[t] - evaluate[t]).item()
        torch.testing.assert_close(z[t] - z[t + 1], max(left, 0.0) / slope * g, rtol=1e-9, atol=1e-12)


def test_decay_of_schedule_free_plus_goes_by_the_square_of_the_rate():
    plain, decayed = (plus(ravine.ScheduleFreePlus, [[1.0, -1.0]], [2.0], weight_decay=w)[0] for w in (0.0, 0.3))
    gamma = 2.0 / (math.sqrt(math.pi / 2) * 2)
    torch.testing.assert_close(plain[1] - decayed[1], 0.3 * gamma**2 * plain[0])


def test_the_interpolation_of_schedule_free_plus_is_annealed_in_equal_ratios():
    _, _, opt = plus(ravine.ScheduleFreePlus, [[1.0, -1.0]], [1.0])
    p = opt.param_groups[0]["params"][0]
    assert opt.state[p]["ahead"].item() == pytest.approx(0.1)
    found = [
        plus(ravine.ScheduleFreePlus, [[1.0, -1.0]] * t, [1.0] * t, sf_beta1_anneal_steps=4, sf_beta1_max=0.99)[2]
        for t in range(1, 7)
    ]
    ahead = [next(iter(opt.state.values()))["ahead"].item() for opt in found]
    assert ahead == pytest.approx([0.1 * 10 ** (-k / 4) for k in (0, 1, 2, 3, 4, 4)])


def test_schedule_free_plus_stands_where_there_is_nothing_to_gain():
    for gradients, losses in (([[1.0, -1.0]] * 3, [0.0] * 3), ([[0.0, 0.0]] * 3, [2.0] * 3)):
        train, _, _ = plus(ravine.ScheduleFreePlus, gradients, losses, eps=1e-8)
        assert torch.equal(train[-1], train[0])
