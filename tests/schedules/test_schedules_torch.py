"""Every schedule that torch has: the same numbers, step by step."""

import inspect
import math

import pytest
import torch
from torch.optim import lr_scheduler as theirs

import ravine
from ravine.schedules import (
    Constant,
    Cosine,
    Exponential,
    ExpRange,
    Linear,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    Scheduler,
    Step,
    Triangular,
    Triangular2,
    WarmRestarts,
    Warmup,
)

LR, STEPS = 0.3, 60
CYCLIC = {"cycle_momentum": False}
CASES = {  # the schedule, and torch's
    "step": (Step(7, 0.5), lambda o: theirs.StepLR(o, 7, 0.5)),
    "multi-step": (MultiStep((30, 5, 11), 0.2), lambda o: theirs.MultiStepLR(o, [30, 5, 11], 0.2)),
    "constant": (Constant(0.4).then(6, Constant()), lambda o: theirs.ConstantLR(o, 0.4, 6)),
    "exponential": (Exponential(0.9), lambda o: theirs.ExponentialLR(o, 0.9)),
    "linear": (Linear(20), lambda o: theirs.LinearLR(o, 1.0, 0.0, 20)),
    "linear, end": (Linear(20, end=0.2), lambda o: theirs.LinearLR(o, 1.0, 0.2, 20)),
    "warmup": (Warmup(9, start=0.25), lambda o: theirs.LinearLR(o, 0.25, 1.0, 9)),
    "warmup from the first step": (Warmup(9), lambda o: theirs.LinearLR(o, 1 / 9, 1.0, 8)),
    "polynomial": (Polynomial(25, power=2.5), lambda o: theirs.PolynomialLR(o, 25, 2.5)),
    "cosine": (Cosine(STEPS, end=0.1), lambda o: theirs.CosineAnnealingLR(o, STEPS, 0.1 * LR)),
    "restarts": (WarmRestarts(7, end=0.1), lambda o: theirs.CosineAnnealingWarmRestarts(o, 7, 1, 0.1 * LR)),
    "restarts, longer": (WarmRestarts(4, 2), lambda o: theirs.CosineAnnealingWarmRestarts(o, 4, 2)),
    "triangular": (Triangular(6, 0.2), lambda o: theirs.CyclicLR(o, 0.2 * LR, LR, 6, **CYCLIC)),
    "triangular, uneven": (Triangular(6, 0.2, 3), lambda o: theirs.CyclicLR(o, 0.2 * LR, LR, 6, 3, **CYCLIC)),
    "triangular2": (Triangular2(6, 0.2), lambda o: theirs.CyclicLR(o, 0.2 * LR, LR, 6, mode="triangular2", **CYCLIC)),
    "exp-range": (
        ExpRange(6, 0.2, gamma=0.98),
        lambda o: theirs.CyclicLR(o, 0.2 * LR, LR, 6, mode="exp_range", gamma=0.98, **CYCLIC),
    ),
    "one then the other": (
        Warmup(5).then(5, Cosine(STEPS)),
        lambda o: theirs.SequentialLR(
            o, [theirs.LinearLR(o, 0.2, 1.0, 4), theirs.CosineAnnealingLR(o, STEPS)], milestones=[5]
        ),
    ),
    "both at once": (
        Exponential(0.95) * Step(10, 0.5),
        lambda o: theirs.ChainedScheduler([theirs.ExponentialLR(o, 0.95), theirs.StepLR(o, 10, 0.5)]),
    ),
    "a function": (lambda t: 1 / (1 + t), lambda o: theirs.LambdaLR(o, lambda t: 1 / (1 + t))),
}


def optimizer(make=torch.optim.SGD, **hyper):
    return make([torch.nn.Parameter(torch.zeros(2))], lr=LR, **hyper)


def path(opt, scheduler, steps=STEPS, *report):
    """lr, and momentum or β₁, before each step."""
    out = []
    for t in range(steps):
        group = opt.param_groups[0]
        out.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        opt.step()
        scheduler.step(*(x[t] for x in report))
    return out


def same(a, b):
    assert len(a) == len(b)
    for t, (x, y) in enumerate(zip(a, b, strict=True)):
        assert all(math.isclose(u, v, rel_tol=1e-11, abs_tol=1e-14) for u, v in zip(x, y, strict=True)), (t, x, y)


@pytest.mark.parametrize(("mine", "make"), CASES.values(), ids=CASES)
def test_the_numbers_are_torchs(mine, make):
    a, b = optimizer(), optimizer()
    same(path(a, Scheduler(a, lr=mine)), path(b, make(b)))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam, ravine.SGD, ravine.AdamW])
@pytest.mark.parametrize("three", [False, True])
@pytest.mark.parametrize("ease", ["linear", "cosine"])
def test_one_cycle_and_its_momentum_are_torchs(make, three, ease):
    hyper = {} if make in (torch.optim.Adam, ravine.AdamW) else {"momentum": 0.9}
    a, b = optimizer(make, **hyper), optimizer(make, **hyper)
    cycle = OneCycle(STEPS, warm=0.25, div=10.0, final_div=100.0, ease=ease, three_phase=three)
    official = theirs.OneCycleLR(
        b, LR, STEPS, pct_start=0.25, div_factor=10.0, final_div_factor=100.0, three_phase=three,
        anneal_strategy="cos" if ease == "cosine" else "linear", base_momentum=0.8, max_momentum=0.93,
    )  # fmt: skip
    same(path(a, Scheduler(a, lr=cycle, momentum=cycle.momentum(0.8, 0.93))), path(b, official))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_cycled_momentum_is_torchs(make):
    hyper = {} if make is torch.optim.Adam else {"momentum": 0.9}
    a, b = optimizer(make, **hyper), optimizer(make, **hyper)
    mine = Scheduler(a, lr=Triangular2(6, 0.2), momentum=Triangular2(6, 0.0).between(0.8, 0.9))
    same(path(a, mine), path(b, theirs.CyclicLR(b, 0.2 * LR, LR, 6, mode="triangular2")))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("cooldown", [0, 3])
def test_plateau_is_torchs(mode, threshold_mode, cooldown):
    rng = torch.Generator().manual_seed(1)
    metrics = (1.0 + 0.3 * torch.rand(STEPS, generator=rng)).tolist()
    metrics[20], metrics[31] = math.nan, math.inf
    how = {"mode": mode, "factor": 0.5, "patience": 2, "threshold": 0.03, "threshold_mode": threshold_mode}
    a, b = optimizer(), optimizer()
    mine = Scheduler(a, lr=Plateau(cooldown=cooldown, end=0.01, **how))
    official = theirs.ReduceLROnPlateau(b, cooldown=cooldown, min_lr=0.01 * LR, eps=0.0, **how)
    followed = []
    for t, x in enumerate(metrics):
        a.step()
        mine.step()
        mine.report(x)
        official.step(x)
        followed.append(a.param_groups[0]["lr"])
        assert math.isclose(followed[-1], b.param_groups[0]["lr"], rel_tol=1e-12), t
    assert len(set(followed)) > 4


def test_no_schedule_of_torch_is_missing():
    compared = {"OneCycleLR", "ReduceLROnPlateau"} | {type(make(optimizer())).__name__ for _, make in CASES.values()}
    base = {"LRScheduler", "_LRScheduler", "MultiplicativeLR"}  # this one is recursive by definition
    found = {k for k, x in vars(theirs).items() if inspect.isclass(x) and issubclass(x, theirs.LRScheduler)}
    assert found - base == compared
