"""DoG and L-DoG beside their authors' package."""

import dog
from trajectory import Case

AT = "dog-optimizer 1.0.3"
BIG = {"lr": 1.0, "reps_rel": 1e-2}
DECAYED = BIG | {"lr": 0.8, "weight_decay": 0.1, "eps": 1e-3}
FIRST = {"lr": 0.8, "init_eta": 1e-2, "weight_decay": 0.1}


def case(method, hyper):
    return Case(method, AT, hyper, lambda params: getattr(dog, method)(params, **hyper))


CASES = [case(method, hyper) for method in ("DoG", "LDoG") for hyper in ({"lr": 1.0}, BIG, DECAYED, FIRST)]
