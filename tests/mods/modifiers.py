"""What the tests of modifiers run over: every modifier, rules of several kinds, odd shapes; ways to compare."""

import pytest
import torch
from torch import nn

import ravine
from ravine.mods import (
    AGC,
    EMA,
    GPA,
    L1,
    Averaging,
    Cautious,
    CautiousDecay,
    Centralize,
    ClipNorm,
    ClipTensorNorm,
    ClipValue,
    DecoupledDecay,
    EMANesterov,
    GradientAveraging,
    GradientNoise,
    Grams,
    Hyperball,
    RadialBrake,
    UpdateFloor,
)
from ravine.mods.shown import Shown

ALL = {
    "norm": lambda: ClipNorm(1.0),
    "tensor_norm": lambda: ClipTensorNorm(0.5),
    "value": lambda: ClipValue(0.4),
    "agc": lambda: AGC(0.05),
    "centralize": Centralize,
    "noise": lambda: GradientNoise(0.3, seed=7),
    "gradients": lambda: GradientAveraging(0.8),
    "all_gradients": lambda: GradientAveraging(1.0),
    "cautious": Cautious,
    "cautious_plus_one": lambda: Cautious(plus_one=True),
    "grams": Grams,
    "decay": lambda: DecoupledDecay(0.1),
    "full_decay": lambda: DecoupledDecay(0.01, "independent"),
    "corrected_decay": lambda: DecoupledDecay(0.1, "lr2"),
    "cautious_decay": lambda: CautiousDecay(0.1),
    "hyperball": Hyperball,
    "radial_brake": RadialBrake,
    "update_floor": lambda: UpdateFloor(20.0),
    "update_floor_of_rows": lambda: UpdateFloor(3.0, rows=True),
    "ema_nesterov": lambda: EMANesterov(0.5, 0.9),
    "gpa": lambda: GPA(0.9, 0.7),
    "l1": lambda: L1(0.2),
    "ema": lambda: EMA(0.9),
    "ema_ramp": lambda: EMA(0.9, "ramp"),
    "ema_unbiased": lambda: EMA(0.9, "unbiased"),
    "mean": Averaging,
    "tail": lambda: Averaging(2),
    "swa": lambda: Averaging(1, every=2),
}
AVERAGES = [name for name, make in ALL.items() if isinstance(make(), Shown)]
RULES = {
    "sgd": (ravine.SGD, {"lr": 0.1, "momentum": 0.9}),
    "adam": (ravine.Adam, {"lr": 0.01}),
    "lion": (ravine.Lion, {"lr": 0.01}),
    "lamb": (ravine.LAMB, {"lr": 0.01, "weight_decay": 0.1}),
}
SHAPES = [(), (7,), (3, 5), (2, 3, 2, 2), (0,), (0, 3), (3, 0), (40, 130)]

each = pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
each_average = pytest.mark.parametrize("make", [ALL[k] for k in AVERAGES], ids=AVERAGES)
each_rule = pytest.mark.parametrize(
    ("rule", "hyper"),
    [pytest.param(*RULES[k], id=k, marks=() if k == "adam" else pytest.mark.ci) for k in RULES],
)
backends = pytest.mark.parametrize("backend", ["reference", "llvm"])


def parameters(dtype=torch.float64, shapes=SHAPES):
    rng = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(s, generator=rng, dtype=torch.float64).to(dtype)) for s in shapes]


def gradients(t, shapes, dtype=torch.float64):
    rng = torch.Generator().manual_seed(100 + t)
    return [torch.randn(s, generator=rng, dtype=torch.float64).to(dtype) for s in shapes]


def of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def walk(opt, steps=5, first=0):
    params = of(opt)
    for t in range(first, first + steps):
        for p, g in zip(params, gradients(t, [p.shape for p in params]), strict=True):
            p.grad = g.to(p.dtype)
        opt.step()
    return [p.detach().clone() for p in params]


def near(a, b, tolerance=1e-12):
    for x, y in zip(a, b, strict=True):
        assert x.shape == y.shape
        gap = ((x.double() - y.double()).abs() / (1 + y.double().abs())).max().item() if x.numel() else 0.0
        assert gap <= tolerance, f"{tuple(x.shape)}: {gap:.1e} apart"


def equal(a, b):
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        assert torch.equal(torch.isnan(x), torch.isnan(y)) and torch.equal(x.nan_to_num(), y.nan_to_num())


def differ(a, b):
    return any(not torch.equal(x, y) for x, y in zip(a, b, strict=True))


def everything(opt):
    """All tensors that an optimizer holds: parameters, then states in order."""
    return [p.detach() for p in of(opt)] + [x for p in of(opt) for _, x in sorted(opt.state[p].items())]


def seen(mod, steps=6):
    """What a modifier of the gradient gives SGD at each step."""
    opt = ravine.SGD(parameters(), lr=1.0, mods=[mod], backend="reference")
    out = []
    for t in range(steps):
        before = [p.detach().clone() for p in of(opt)]
        after = walk(opt, 1, first=t)
        out.append([x - y for x, y in zip(before, after, strict=True)])
    return out
