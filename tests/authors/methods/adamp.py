"""AdamP and SGDP beside their authors' package, with δ so large that each kind of projection occurs.

Without nesterov the package's SGDP projects the momentum itself, in place, where the paper projects only the step: so
there it is compared where nothing is projected or nothing is remembered, and a library is asked for the rest.
"""

import adamp
import pytorch_optimizer
from trajectory import Case

COMMON = {"lr": 5e-2, "weight_decay": 0.1, "eps": 1e-6, "wd_ratio": 0.3}


LIBRARY = "pytorch-optimizer 4.1.0"


def case(method, **hyper):
    hyper = COMMON | hyper
    return Case(method, "adamp 0.3.0", hyper, lambda params: getattr(adamp, method)(params, **hyper))


def library(method, **hyper):
    hyper = COMMON | hyper
    theirs = getattr(pytorch_optimizer, method)
    return Case(method, LIBRARY, hyper, lambda params: theirs(params, weight_decouple=True, foreach=False, **hyper))


CASES = [
    *(case("AdamP", betas=(0.85, 0.97), delta=delta) for delta in (0.5, 1.8, 2.5)),
    case("AdamP", betas=(0.85, 0.97), delta=1.8, nesterov=True),
    case("SGDP", momentum=0.8, dampening=0.2, delta=0.0),
    *(case("SGDP", momentum=0.8, dampening=0.2, delta=delta, nesterov=True) for delta in (1.8, 2.5)),
    case("SGDP", delta=1.8),
    library("SGDP", momentum=0.8, dampening=0.2, delta=1.8),
]
