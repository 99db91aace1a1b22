"""Facts that papers state, or that follow at once: Lion, AdaBelief, Yogi, LaProp, ADOPT, AdEMAMix, Adan, LpAdam."""

import math
from itertools import pairwise

import pytest
import torch

import ravine


def walk(make, gradients, start=0.0, dtype=torch.float64, **hyper):
    """The parameter before the first step and after each."""
    p = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
    opt, path = make([p], **hyper), [float(start)]
    for g in gradients:
        p.grad = torch.full_like(p, g)
        opt.step()
        path.append(p.item())
    return torch.tensor(path, dtype=torch.float64)


def same(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=torch.float64), rtol=tolerance, atol=tolerance)


NOISE = torch.randn(60, generator=torch.Generator().manual_seed(5), dtype=torch.float64).tolist()
SPIKY = [x**5 for x in NOISE]
LR = 0.01


def test_lion_moves_by_lr_and_decays_beside_the_sign():
    same(walk(ravine.Lion, SPIKY, lr=LR).diff().abs(), [LR] * 60)
    lone = walk(ravine.Lion, [1e-9], 5.0, lr=LR, weight_decay=0.1)  # in g, λp would turn the sign
    same(lone.diff(), [-LR * 0.1 * 5.0 - LR])
    lone = walk(ravine.Lion, [-1e-9], 5.0, lr=LR, weight_decay=0.1)
    same(lone.diff(), [-LR * 0.1 * 5.0 + LR])


def test_lion_without_interpolation_is_the_sign_of_the_gradient():
    """β₁ = 0: c = g."""
    path = walk(ravine.Lion, NOISE, lr=LR, betas=(0.0, 0.9))
    same(path.diff(), [-math.copysign(LR, g) for g in NOISE])


def test_adabelief_believes_what_it_expects():
    """Where g does not change, g − m fades and steps grow far beyond Adam's lr, as the paper's figure 1 has it."""
    constant = walk(ravine.AdaBelief, [1.0] * 60, lr=LR, rectify=False).diff().abs()
    assert (constant.diff() > 0).all()
    assert constant[-1] > 2 * LR
    turning = walk(ravine.AdaBelief, [(-1.0) ** t for t in range(60)], lr=LR, rectify=False).diff().abs()
    assert turning[10:].max() < LR


def test_adabeliefs_epsilon_is_remembered_for_as_long_as_gradients_are():
    """From zero gradients s grows to ε/(1 − β₂), and so does its maximum: not beyond."""
    for amsgrad in (False, True):
        p = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        opt = ravine.AdaBelief([p], eps=1e-4, betas=(0.9, 0.9), amsgrad=amsgrad)
        for _ in range(400):
            p.grad = torch.zeros_like(p)
            opt.step()
        for key in ("s", "smax")[: 1 + amsgrad]:
            same(opt.state[p][key], [1e-3] * 3, 1e-9)


def test_yogis_v_changes_by_no_more_than_g2():
    """|v_t − v_{t−1}| = (1 − β₂) g², while Adam's v falls by a part of itself: after a spike Yogi remembers it."""
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    opt, before = ravine.Yogi([p], betas=(0.9, 0.99)), 1e-6
    for g in [100.0, *NOISE]:
        p.grad = torch.full_like(p, g)
        opt.step()
        v = opt.state[p]["v"].item()
        assert math.isclose(abs(v - before), 0.01 * g * g, rel_tol=1e-9, abs_tol=1e-12)
        before = v


def test_yogis_momentum_begins_at_zero():
    assert (walk(ravine.Yogi, [0.0] * 5, 1.0) == 1.0).all()


def test_yogis_first_v_may_be_the_first_gradient():
    same(walk(ravine.Yogi, [3.0], lr=LR, eps=0.0, v_from_gradient=True).diff(), [-LR])


@pytest.mark.parametrize("beta2", [0.9, 0.999])
def test_laprop_without_momentum_is_adam_without_momentum(beta2):
    """Both are RMSProp with its bias corrected."""
    hyper = {"lr": LR, "betas": (0.0, beta2), "eps": 1e-8}
    same(walk(ravine.LaProp, SPIKY, **hyper), walk(ravine.Adam, SPIKY, **hyper))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.99, 0.5)])
def test_laprops_steps_are_bounded_whatever_its_momentum(betas):
    """By lr/√(1 − β₂); Adam's are not where β₁ > √β₂."""
    g = [*SPIKY, 1e6, *[1e-6] * 100]
    assert walk(ravine.LaProp, g, lr=LR, betas=betas).diff().abs().max() <= LR / math.sqrt(1 - betas[1])
    if betas[0] > betas[1]:
        assert walk(ravine.Adam, g, lr=LR, betas=betas).diff().abs().max() > 1e3 * LR


def test_adopt_looks_first_then_divides_by_the_v_of_before():
    path = walk(ravine.ADOPT, [2.0, 3.0, -0.5], 1.0, lr=LR, betas=(0.0, 0.5), clip=False, weight_decay=0.0)
    same(path.diff(), [0.0, -LR * 3 / 2, LR * 0.5 / math.sqrt(0.5 * 4 + 0.5 * 9)])


def test_adopts_clip_lets_the_kth_step_be_k_to_the_quarter():
    """Counted from the first that moves: after a first gradient near 0, the second is not the end of the run."""
    path = walk(ravine.ADOPT, [1e-9, *[10.0**k for k in range(30)]], lr=LR, betas=(0.0, 0.99))
    steps = path.diff().abs()[1:]
    assert steps[0] == LR
    assert (steps <= LR * torch.arange(1, 31, dtype=torch.float64) ** 0.25 * (1 + 1e-12)).all()
    assert walk(ravine.ADOPT, [1e-9, 1.0], lr=LR, betas=(0.0, 0.99), clip=False).abs().max() > 1e5 * LR


def test_ademamix_without_its_slow_momentum_is_adamw():
    hyper = {"lr": LR, "weight_decay": 0.1}
    same(walk(ravine.AdEMAMix, NOISE, 1.0, alpha=0.0, **hyper), walk(ravine.AdamW, NOISE, 1.0, **hyper))


def test_ademamixs_warm_up_lets_the_half_life_grow_linearly():
    """After one gradient of 1 the slow momentum is 1 − β₃(t), then shrinks by β₃(t): read it off."""
    T, b1, b3 = 50, 0.9, 0.999
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    opt, m, lives = ravine.AdEMAMix([p], betas=(b1, 0.999, b3), beta3_warmup=T), [], []
    for t in range(T):
        p.grad = torch.full_like(p, float(t == 0))
        opt.step()
        m.append(opt.state[p]["m2"].item())
        beta = 1 - m[0] if t == 0 else m[t] / m[t - 1]
        lives.append(math.log(0.5) / math.log(beta))
    start, end = math.log(0.5) / math.log(b1), math.log(0.5) / math.log(b3)
    same(torch.tensor(lives, dtype=torch.float64), [start + (end - start) * t / T for t in range(1, T + 1)], 2e-5)


def test_simplified_ademamix_with_its_sum_corrected_is_adamw():
    hyper = {"lr": LR, "weight_decay": 0.1, "betas": (0.9, 0.99)}
    ours = walk(ravine.SimplifiedAdEMAMix, NOISE, 1.0, bias_correction1=True, **hyper)
    same(ours, walk(ravine.AdamW, NOISE, 1.0, **hyper), 1e-12)


def test_simplified_ademamixs_steps_are_as_long_as_its_sum():
    """Of gradients of 1: (1 − β₁ᵗ) / (1 − β₁) + α; and (1 − β₁ᵗ) / (1 − β₁) is divided out by bias_correction1."""
    hyper = {"lr": LR, "betas": (0.9, 0.99), "alpha": 3.0, "eps": 0.0}
    many = [(1 - 0.9**t) / 0.1 for t in range(1, 31)]
    same(walk(ravine.SimplifiedAdEMAMix, [1.0] * 30, **hyper).diff(), [-LR * (n + 3) for n in many], 1e-12)
    path = walk(ravine.SimplifiedAdEMAMix, [1.0] * 30, bias_correction1=True, **hyper)
    same(path.diff(), [-LR * (n + 3) / n for n in many], 1e-12)


@pytest.mark.parametrize(("b0", "b1"), [(0.8, 0.99), (0.0, 0.99), (0.8, 0.0)])
def test_simplified_ademamixs_warm_up_lets_the_half_life_grow_linearly(b0, b1):
    """After one gradient of 1 the sum shrinks by β₁(t): read it off. A β of 0 counts as 1e-8."""
    T = 20
    p = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    opt = ravine.SimplifiedAdEMAMix([p], betas=(b1, 0.999), beta1_warmup=T, min_beta1=b0)
    m = []
    for t in range(T - 1):
        p.grad = torch.full_like(p, float(t == 0))
        opt.step()
        m.append(opt.state[p]["m"].item())
    lives = [math.log(0.5) / math.log(now / before) for before, now in pairwise(m)]
    start, end = (math.log(0.5) / math.log(b + 1e-8) for b in (b0, b1))
    same(torch.tensor(lives, dtype=torch.float64), [start + (end - start) * t / T for t in range(2, T)], 1e-9)


def test_adans_first_difference_is_zero():
    """So its first step is Adam's: lr against the sign."""
    for g in (3.0, -1e-3):
        same(walk(ravine.Adan, [g], lr=LR, eps=0.0).diff(), [-math.copysign(LR, g)])


def test_adan_without_differences_is_adam():
    """β₂ = 0."""
    ours = walk(ravine.Adan, NOISE, 1.0, lr=LR, betas=(0.9, 0.0, 0.99))
    same(ours, walk(ravine.Adam, NOISE, 1.0, lr=LR, betas=(0.9, 0.99)))


# The family between Adam and Adamax


def test_the_family_begins_with_adam():
    """p = 2 is Adam with β₂²; ε, too, stands where Adam's does."""
    for eps in (1e-8, 0.1):
        ours = walk(ravine.LpAdam, NOISE, 1.0, lr=LR, betas=(0.9, 0.99), eps=eps, p=2)
        same(ours, walk(ravine.Adam, NOISE, 1.0, lr=LR, betas=(0.9, 0.99**2), eps=eps))


def test_the_family_tends_to_adamax():
    """The larger p, the nearer, until at p = 64 they are some percent apart."""
    adamax = walk(ravine.Adamax, NOISE, 1.0, lr=LR, betas=(0.9, 0.9), eps=1e-30)
    gaps = [
        (walk(ravine.LpAdam, NOISE, 1.0, lr=LR, betas=(0.9, 0.9), eps=0.0, p=2**k) - adamax).abs().max().item()
        for k in range(1, 7)
    ]
    assert all(a > 1.5 * b for a, b in pairwise(gaps))
    assert gaps[-1] < 0.02 * (adamax - 1).abs().max()


def test_the_family_leaves_float32_for_large_p():
    """|g|³² is 0 for a g of 0.01: what divides is ε alone. It is infinite for 100, and the weight never moves again."""
    small = walk(ravine.LpAdam, [0.01], dtype=torch.float32, lr=LR, p=32)
    assert small.diff().abs().item() > 1e4 * LR
    large = walk(ravine.LpAdam, [100.0, *[1.0] * 9], dtype=torch.float32, lr=LR, p=32)
    assert (large == 0).all()
    for g in ([0.01], [100.0]):  # in float64 both are ordinary numbers, and Adamax is at home in float32
        same(walk(ravine.LpAdam, g, lr=LR, p=32, eps=1e-12).diff().abs(), [LR], 1e-9)
        same(walk(ravine.Adamax, g, dtype=torch.float32, lr=LR).diff().abs(), [LR], 1e-5)


@pytest.mark.parametrize("p", [0, 1, 3, 6, -2])
def test_the_family_has_powers_of_two_only(p):
    with pytest.raises(ValueError, match="p is"):
        ravine.LpAdam([torch.nn.Parameter(torch.zeros(2))], p=p)
