"""Prodigy beside its authors' package."""

from prodigyopt import Prodigy
from trajectory import Case

AT = "prodigyopt 1.1.2"
# a larger start than 1e-6, so that d leaves it, is held back, and catches up within the path
PLAIN = {"lr": 1.0, "d0": 1e-3, "betas": (0.85, 0.97)}
ALL = PLAIN | {
    "lr": 0.7,
    "beta3": 0.9,
    "eps": 1e-6,
    "weight_decay": 0.05,
    "use_bias_correction": True,
    "safeguard_warmup": True,
    "d_coef": 1.3,
    "growth_rate": 1.1,
}


def case(hyper, note=""):
    return Case("Prodigy", AT, hyper, lambda params: Prodigy(params, **hyper), note=note)


CASES = [
    case({"lr": 1.0}),
    case(PLAIN),
    case(PLAIN | {"growth_rate": 1.02}),
    case(ALL),
    case(ALL | {"decouple": False}, note="it adds λp to the gradient in p.grad itself"),
]
