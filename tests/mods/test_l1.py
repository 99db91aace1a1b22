"""L1 is the proximal step in the rule's own metric: every rule that has one finds the same sparse solution."""

import pytest
import torch
from torch import nn

import ravine
from ravine.mods import EMA, L1, ClipNorm, DecoupledDecay
from ravine.optim import registry
from ravine.rule.modifier import Modifier

# rules whose graph tells of no rate but lr: without a metric, or with steps that are no product
BY_LR = {
    "adagradrda",
    "aggmo",
    "asgd",
    "kfac",
    "fulladagrad",
    "lion",
    "madgrad",
    "momentum",
    "nag",
    "qhm",
    "rprop",
    "sgd",
    "sgdp",
    "sgdw",
    "shampoo",
    "splus",
    "signsgd",
    "signum",
}
BY_LR |= {"schedulefreeadamw", "schedulefreeplus", "schedulefreeradam", "schedulefreesgd"}
# on the problem below: a rate at which 2,000 steps arrive
SOLVERS = {
    "sgd": {"lr": 0.5}, "sgdp": {"lr": 0.1}, "adadelta": {"lr": 1.0}, "adafactor": {"lr": 0.05}, "adagrad": {"lr": 0.5},
    "adabelief": {"lr": 0.05}, "adam": {"lr": 0.05}, "adamp": {"lr": 0.05}, "adamax": {"lr": 0.05},
    "adamw": {"lr": 0.05, "weight_decay": 0.0}, "adameps": {"lr": 0.05}, "adammini": {"lr": 0.05}, "adan": {"lr": 0.05},
    "adopt": {"lr": 0.05}, "amsgrad": {"lr": 0.05}, "came": {"lr": 0.01}, "dog": {},
    "ldog": {}, "dowg": {}, "lamb": {"lr": 0.05}, "laprop": {"lr": 0.05}, "lpadam": {"lr": 0.05}, "mars": {"lr": 0.05},
    "momo": {}, "momoadam": {}, "nadam": {"lr": 0.05}, "prodigy": {}, "qhadam": {"lr": 0.05}, "radam": {"lr": 0.05},
    "rmsprop": {"lr": 0.05}, "shampoo": {"lr": 0.5}, "sm3": {"lr": 0.5},
    "soap": {"lr": 0.05, "weight_decay": 0.0}, "stableadamw": {"lr": 0.05, "weight_decay": 0.0}, "yogi": {"lr": 0.05},
}  # fmt: skip
SOME = ("sgd", "adam", "adagrad", "lamb")  # run at every edit, and at a second λ too


def problem():
    """200 rows, 50 weights, of which five are not 0: min ‖Ax − b‖² / 400 + λ‖x‖₁."""
    rng = torch.Generator().manual_seed(0)
    A = torch.randn(200, 50, generator=rng, dtype=torch.float64)
    true = torch.zeros(50, dtype=torch.float64)
    true[::10] = torch.tensor([3.0, -2.0, 1.5, 1.0, -1.0], dtype=torch.float64)
    return A, A @ true + 0.5 * torch.randn(200, generator=rng, dtype=torch.float64), true


def solve(cls, mods, steps=2000, **hyper):
    A, b, _ = problem()
    x = nn.Parameter(torch.full((50,), 0.01, dtype=torch.float64))
    opt = cls([x], mods=mods, **hyper)
    for _ in range(steps):
        rest = A @ x.detach() - b
        x.grad = A.T @ rest / 200
        opt.step(loss=(rest @ rest / 400).item())
    x = x.detach()
    return x, A.T @ (A @ x - b) / 200


@pytest.mark.parametrize(
    ("name", "lam"),
    [
        *(pytest.param(name, 0.1, marks=() if name in SOME else pytest.mark.ci) for name in SOLVERS),
        *((name, 1.0) for name in SOME),
    ],
)
def test_all_find_the_sparse_solution(name, lam):
    """At it |∇| ≤ λ, with equality and sign −x where x ≠ 0; the same λ keeps the same weights under every rule."""
    x, g = solve(registry()[name], [L1(lam)], **SOLVERS[name])
    true = problem()[2]
    kept = {0.1: true != 0, 1.0: true.abs() > 1}[lam]
    assert torch.equal(x != 0, kept)
    assert (g[~kept].abs() <= lam).all()
    assert (g[kept] + lam * x[kept].sign()).abs().max() < 1e-2 * lam


@pytest.mark.parametrize(("lam", "least"), [(0.1, 0.0), (1.0, 1.0)])
def test_adagrad_rda_finds_it_by_its_own_penalty(lam, least):
    x, g = solve(ravine.AdaGradRDA, [], lr=1.0, l1=lam)
    kept = problem()[2].abs() > least
    assert torch.equal(x != 0, kept)
    assert (g[~kept].abs() <= lam).all()
    assert (g[kept] + lam * x[kept].sign()).abs().max() < 3e-2 * lam


def test_under_noise_dual_averaging_is_sparser():
    """Batches of 10 of the 200 rows: what `AdaGradRDA` says of Adagrad with L1 beside it."""

    def left(cls, mods=(), **hyper):
        A, b, _ = problem()
        rng = torch.Generator().manual_seed(0)
        x = nn.Parameter(torch.zeros(50, dtype=torch.float64))
        opt, count = cls([x], lr=0.3, mods=mods, **hyper), 0
        for t in range(2000):
            rows = torch.randint(200, (10,), generator=rng)
            x.grad = A[rows].T @ (A[rows] @ x.detach() - b[rows]) / 10
            opt.step()
            count += int((x != 0).sum()) if t >= 1800 else 0
        assert (x[problem()[2] != 0] != 0).all()
        return count / 200

    assert left(ravine.AdaGradRDA, l1=0.1) < 6
    assert left(ravine.Adagrad, [L1(0.1)]) > 30


def test_adagrad_rda_stays_where_a_schedule_ends():
    x = nn.Parameter(torch.full((3,), 2.0, dtype=torch.float64))
    opt = ravine.AdaGradRDA([x], lr=0.5, l1=0.1)
    for t in range(10):
        opt.param_groups[0]["lr"] = 0.5 * (1 - t / 9)
        x.grad = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
        before = x.detach().clone()
        opt.step()
    assert ((x - before).abs() < 0.06 * (x - 2).abs()).all()  # the last step has lr 0: only H grew
    assert ((x - 2).abs() > 0.5).all()


@pytest.mark.parametrize(
    ("eps", "l1", "after"), [(1e-10, 0.1, 0.0), (1e-10, 0.0, 2.0), (0.0, 0.1, 2.0), (0.0, 0.0, 2.0)]
)
def test_adagrad_rda_without_gradients(eps, l1, after):
    x = nn.Parameter(torch.full((3,), 2.0))
    x.grad = torch.zeros(3)
    ravine.AdaGradRDA([x], l1=l1, eps=eps).step()
    assert x.tolist() == [after] * 3


def test_it_may_stand_after_other_modifiers():
    for mods in ([ClipNorm(100.0), L1(0.1)], [DecoupledDecay(0.0), L1(0.1)], [EMA(0.9), L1(0.1)]):
        x, _ = solve(ravine.Adam, mods, lr=0.05)
        assert torch.equal(x != 0, problem()[2] != 0)


@pytest.mark.parametrize("name", registry())
def test_the_rate_is_lr_where_the_rule_has_no_metric(name):
    """A rule whose rate is not found, or is found where there is none, stands here."""
    found = []

    class Seen(Modifier):
        def update(self, s, p, g, t, new, lr, rate):
            found.append(rate)
            return new

    registry()[name].equations(mods=(Seen(),))
    assert ((found[0].op, found[0].arg) == ("hyper", "lr")) == (name in BY_LR)


@pytest.mark.parametrize("backend", ["reference", "llvm"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("cls", "hyper", "rate"),
    [
        (ravine.SGD, {"lr": 0.1, "momentum": 0.9}, lambda p, g: 0.1),
        (ravine.Lion, {"lr": 0.01}, lambda p, g: 0.01),
        (ravine.Adam, {"lr": 0.01}, lambda p, g: 0.01 / (g.abs() + 1e-8)),
        (ravine.Adagrad, {"lr": 0.01, "lr_decay": 0.5}, lambda p, g: 0.01 / (g.abs() + 1e-10)),
        (ravine.AdamMini, {"lr": 0.01, "partition": "tensor"}, lambda p, g: 0.01 / (g.square().mean().sqrt() + 1e-8)),
        (ravine.LAMB, {"lr": 0.01}, lambda p, g: 0.01 * p.norm() / (g / (g.abs() + 1e-6)).norm() / (g.abs() + 1e-6)),
        (ravine.LARS, {"lr": 1.0, "trust_coefficient": 0.01}, lambda p, g: 0.01 * p.norm() / g.norm()),
    ],
)
def test_one_step_is_the_soft_threshold(cls, hyper, rate, dtype, backend):
    rng = torch.Generator().manual_seed(1)
    start = torch.randn(40, 13, generator=rng).to(dtype)
    g = torch.randn(40, 13, generator=rng).to(dtype)
    p, q = (nn.Parameter(start.clone()) for _ in range(2))
    p.grad, q.grad = g, g
    cls([p], mods=[L1(2.0)], backend=backend, **hyper).step()
    cls([q], backend=backend, **hyper).step()
    k = 2.0 * rate(start.double(), g.double())
    plain = q.detach().double()
    soft = plain.sign() * (plain.abs() - k).clamp(min=0)
    near = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]
    assert (p.detach().double() - soft).abs().max() < near * (1 + soft.abs().max())
    assert 3 < int((p == 0).sum()) < 510


@pytest.mark.parametrize("cls", [ravine.Adagrad, ravine.Adam, ravine.SM3])
@pytest.mark.parametrize("lr", [0.0, 0.1])
def test_a_weight_without_gradients_makes_no_nan(cls, lr):
    hyper = {} if cls is ravine.SM3 else {"eps": 1e-8}
    p = nn.Parameter(torch.ones(4, 3))
    p.grad = torch.zeros(4, 3)
    opt = cls([p], lr=lr, mods=[L1(0.5)], **hyper)
    opt.step()
    assert p.isfinite().all()
    assert torch.equal(p.detach(), torch.zeros(4, 3) if lr and cls is not ravine.SM3 else torch.ones(4, 3))
