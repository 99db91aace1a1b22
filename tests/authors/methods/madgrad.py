"""MADGRAD beside its authors' package."""

from madgrad import MADGRAD
from trajectory import Case

HYPER = {"lr": 1e-2, "momentum": 0.8, "weight_decay": 0.1, "eps": 1e-5}
NOTE = "theirs adds ε to lr, so it is given lr − ε"


def case(**hyper):
    hyper = HYPER | hyper
    less = hyper | {"lr": hyper["lr"] - hyper["eps"]}
    return Case("MADGRAD", "madgrad 1.3", hyper, lambda params: MADGRAD(params, **less), note=NOTE)


CASES = [
    case(),
    case(decouple_decay=True),
    case(momentum=0.0),
    case(momentum=0.0, decouple_decay=True),
    case(eps=0.0),
]
