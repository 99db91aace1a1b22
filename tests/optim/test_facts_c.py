"""Facts that the papers state about Schedule-Free, NovoGrad, StableAdamW, MARS, MADGRAD, AdamP and SGDP."""

import pytest
import torch

import ravine

RNG = torch.Generator().manual_seed(0)
GRADIENTS = [torch.randn(4, 3, generator=RNG, dtype=torch.float64) for _ in range(30)]
START = torch.randn(4, 3, generator=RNG, dtype=torch.float64)


def walk(make, gradients=GRADIENTS, start=START, **hyper):
    """The weights before the first step and after each, and the optimizer."""
    p = torch.nn.Parameter(start.clone())
    opt = make([p], **hyper)
    path = [p.detach().clone()]
    for g in gradients:
        p.grad = g.clone()
        opt.step()
        path.append(p.detach().clone())
    return torch.stack(path), opt


def evaluated(opt):
    opt.eval()
    return opt.param_groups[0]["params"][0].detach().clone()


def same(a, b, tolerance=1e-12):
    gap = ((a - b).abs() / (1 + b.abs())).max().item()
    assert gap <= tolerance, f"{gap:.1e} apart"


# Schedule-Free: section 2, and what its equations are at both ends of β


def test_schedule_free_without_momentum_is_sgd_and_evaluates_its_average():
    sgd, _ = walk(ravine.SGD, lr=0.1)
    free, opt = walk(ravine.ScheduleFreeSGD, lr=0.1, momentum=0.0)
    same(free, sgd)
    same(evaluated(opt), sgd[1:].mean(0))


def test_schedule_free_with_all_momentum_evaluates_where_it_trains():
    free, opt = walk(ravine.ScheduleFreeSGD, lr=0.1, momentum=1.0)
    same(evaluated(opt), free[-1])
    sgd, _ = walk(ravine.SGD, lr=0.1)
    same(free[-1], sgd[1:].mean(0))  # Polyak's average, with the gradients taken there


@pytest.mark.parametrize("name", ["ScheduleFreeSGD", "ScheduleFreeAdamW"])
def test_schedule_frees_average_forgets_the_start_at_the_first_step(name):
    """c₁ = 1: after one step x, y and z are the same point."""
    free, opt = walk(getattr(ravine, name), GRADIENTS[:1], lr=0.1)
    assert (free[1] != free[0]).all()
    same(evaluated(opt), free[1])


def test_schedule_frees_average_waits_while_the_rate_is_zero():
    free, opt = walk(ravine.ScheduleFreeSGD, GRADIENTS[:5], lr=0.0)
    assert torch.equal(free, START.expand_as(free))
    opt.param_groups[0]["lr"] = 0.1
    p = opt.param_groups[0]["params"][0]
    opt.step()
    same(p.detach(), START - 0.1 * GRADIENTS[4])
    same(evaluated(opt), START - 0.1 * GRADIENTS[4])


def test_schedule_free_radam_looks_before_it_steps():
    """ρ ≤ 4 in the first four steps for β₂ = 0.999."""
    moved = walk(ravine.ScheduleFreeRAdam)[0].diff(dim=0).abs().amax((1, 2)) > 0
    assert moved.tolist() == [False] * 4 + [True] * 26
    assert (walk(ravine.ScheduleFreeRAdam, silent_sgd_phase=False)[0].diff(dim=0) != 0).all()


# NovoGrad


def test_novograd_steps_are_lr_long_without_memory():
    path, _ = walk(ravine.NovoGrad, lr=0.1, betas=(0.0, 0.0), eps=0.0)
    same(path.diff(dim=0).norm(dim=(1, 2)), torch.full((30,), 0.1, dtype=torch.float64))


def test_novograds_first_step_is_lr_long_whatever_its_memory():
    path, _ = walk(ravine.NovoGrad, GRADIENTS[:1], lr=0.1, eps=0.0)
    same(path.diff(dim=0).norm(), torch.tensor(0.1, dtype=torch.float64))


def test_novograd_that_begins_with_silence_does_not_begin_with_a_leap():
    late, _ = walk(ravine.NovoGrad, [torch.zeros_like(START)] * 3 + GRADIENTS)
    same(late[3:], walk(ravine.NovoGrad)[0])


# StableAdamW


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_stable_adamw_without_a_memory_of_squares_is_adamw(decay):
    """v = g², so the mean of g²/v is 1 and nothing is clipped."""
    hyper = {"lr": 0.1, "betas": (0.9, 0.0), "weight_decay": decay}
    same(walk(ravine.StableAdamW, eps=0.0, **hyper)[0], walk(ravine.AdamW, eps=0.0, **hyper)[0])


def test_stable_adamw_clips_a_burst_and_nothing_before_it():
    quiet = [torch.ones_like(START)] * 20
    hyper = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-12, "weight_decay": 0.0}
    for burst in (1.0, 1e3):
        stable, adamw = (walk(x, [*quiet, burst * quiet[0]], **hyper)[0] for x in (ravine.StableAdamW, ravine.AdamW))
        same(stable[:-1], adamw[:-1])
        ratio = ((stable[-1] - stable[-2]) / (adamw[-1] - adamw[-2])).mean().item()
        beta = 0.99 * (1 - 0.99**20) / (1 - 0.99**21)
        assert abs(ratio - ((beta + (1 - beta) * burst**2) ** 0.5 / burst)) < 1e-9


# MARS


def test_mars_without_correction_is_adamw_where_nothing_is_clipped():
    small = [0.1 * g / g.norm() for g in GRADIENTS]
    hyper = {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}
    same(walk(ravine.MARS, small, gamma=0.0, **hyper)[0], walk(ravine.AdamW, small, **hyper)[0])


def test_mars_sees_only_the_direction_of_long_gradients():
    long = [1e2 * g for g in GRADIENTS]
    same(walk(ravine.MARS, [1e3 * g for g in long])[0], walk(ravine.MARS, long)[0])


def test_mars_keeps_a_copy_of_the_gradient():
    """Gradients that are written into one tensor again and again: their differences are not 0."""
    p = torch.nn.Parameter(START.clone())
    opt = ravine.MARS([p], gamma=0.5)
    p.grad = torch.zeros_like(p)
    for g in GRADIENTS:
        p.grad.copy_(g)
        opt.step()
    same(p.detach(), walk(ravine.MARS, gamma=0.5)[0][-1])


# MADGRAD


def test_madgrads_first_step_is_the_cube_root_of_the_gradient():
    """s = λg and ∛ν = ∛(λg²), so s/∛ν = ∛(λ²g); of that momentum leaves 1 − μ."""
    for momentum in (0.0, 0.9):
        path, _ = walk(ravine.MADGRAD, GRADIENTS[:1], lr=0.1, eps=0.0, momentum=momentum)
        root = GRADIENTS[0].sign() * (0.01 * GRADIENTS[0].abs()) ** (1 / 3)
        same(path[1] - path[0], -(1 - momentum) * root)


# AdamP and SGDP


def test_adamp_that_never_projects_is_adamw():
    hyper = {"lr": 0.1, "weight_decay": 0.1}
    same(walk(ravine.AdamP, delta=0.0, **hyper)[0], walk(ravine.AdamW, **hyper)[0])
    vector = {"gradients": [g[0] for g in GRADIENTS], "start": START[0]} | hyper
    same(walk(ravine.AdamP, delta=100.0, **vector)[0], walk(ravine.AdamW, **vector)[0])


def test_sgdp_that_never_projects_is_sgd():
    hyper = {"lr": 0.1, "momentum": 0.9}
    same(walk(ravine.SGDP, delta=0.0, nesterov=True, **hyper)[0], walk(ravine.SGD, nesterov=True, **hyper)[0])


@pytest.mark.parametrize("name", ["AdamP", "SGDP"])
def test_a_projected_step_is_square_to_the_weights_of_every_channel(name):
    path, _ = walk(getattr(ravine, name), lr=0.1, delta=100.0)
    steps, weights = path.diff(dim=0), path[:-1]
    same((steps * weights).sum(-1), torch.zeros(30, 4, dtype=torch.float64), 1e-7)  # but for ε
    assert steps.abs().amin() > 0
