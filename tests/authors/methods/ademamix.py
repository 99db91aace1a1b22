"""AdEMAMix beside the authors' file and a library."""

import pytorch_optimizer
from trajectory import Case

SOURCE = "apple/ml-ademamix@c3d73c09f128 pytorch/ademamix.py"
HYPER = {"lr": 1e-2, "betas": (0.85, 0.98, 0.999), "alpha": 5.0, "weight_decay": 0.1}
WARM = {"beta3_warmup": 60, "alpha_warmup": 60}


def library(**more):
    hyper = HYPER | {"weight_decouple": True, "fixed_decay": False, "foreach": False} | more
    return lambda params: pytorch_optimizer.AdEMAMix(params, **hyper)


CASES = [
    Case("AdEMAMix", SOURCE, HYPER, recorded="ademamix"),
    Case("AdEMAMix", SOURCE, HYPER | {"beta3_warmup": 40, "alpha_warmup": 30}, recorded="ademamix_warmup"),
    Case("AdEMAMix", "pytorch-optimizer 4.1.0", HYPER, library()),
    Case(
        "AdEMAMix",
        "pytorch-optimizer 4.1.0",
        HYPER | WARM,
        library(t_alpha_beta3=60),
        tolerance=2e-6,  # β₃ differs by 1e-8, and 1 − β₃ is 1e-3
        note="theirs takes logarithms of β, the authors of β + 1e-8",
    ),
]
