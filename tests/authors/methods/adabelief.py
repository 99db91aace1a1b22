"""AdaBelief beside the authors' package, whose file is that of their release 0.2."""

from adabelief_pytorch import AdaBelief
from trajectory import Case


def case(note="", **hyper):
    hyper = {"lr": 1e-2, "betas": (0.85, 0.98), "weight_decay": 0.1} | hyper
    return Case(
        "AdaBelief",
        "adabelief-pytorch 0.2.1",
        hyper,
        lambda params: AdaBelief(params, print_change_log=False, **hyper),
        note=note,
    )


CASES = [
    case(),
    case(eps=1e-8, weight_decouple=False),
    case(eps=1e-3, degenerated_to_sgd=False),
    case(eps=1e-8, rectify=False),
    case(eps=1e-3, rectify=False, amsgrad=True, note="with rectify theirs ignores amsgrad; here it does not"),
]
