"""The methods that torch has, beside torch's own; and those whose path is one of torch's, in other variables.

torch keeps some numbers (NAdam's product, ASGD's rate) in the default type, which is float64 while it steps here.
"""

import torch
from trajectory import Case

from ravine.optim import registry

TORCH = f"torch {torch.__version__.split('+')[0]}"
SETTINGS = {  # of each class, beside its defaults
    "Adadelta": [{"lr": 0.7, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}],
    "Adafactor": [],  # in adafactor.py
    "Adagrad": [{"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.5, "eps": 1e-3, "weight_decay": 0.1}],
    "Adam": [
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True},
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "AdamW": [{"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2, "amsgrad": True}],
    "Adamax": [{"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}],
    "ASGD": [],  # in asgd.py
    "NAdam": [
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "RAdam": [
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "RMSprop": [
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.8},
        {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.8, "centered": True},
    ],
    "Rprop": [{"lr": 0.02, "etas": (0.4, 1.3), "step_sizes": (1e-3, 0.05)}],
    "SGD": [
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True},
    ],
    "SparseAdam": [{"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3}],
}


def wide(opt, _):
    """A step of torch's with float64 as its default type."""
    torch.set_default_dtype(torch.float64)
    try:
        opt.step()
    finally:
        torch.set_default_dtype(torch.float32)


def twin(cls, hyper):
    return Case(
        cls.__name__,
        TORCH,
        hyper,
        lambda params: cls.twin(params, **hyper),
        step=wide,
        sparse=not cls.dense,
        note="" if hyper else "at its defaults",
    )


MOMENTUM = {"lr": 0.05, "momentum": 0.85, "weight_decay": 0.1}
OUTSIDE = "theirs has lr outside the sum: the same path while lr stays"
AVERAGE = MOMENTUM | {"lr": 0.05 / (1 - 0.85)}
AMS = {"lr": 0.01, "betas": (0.85, 0.97), "eps": 1e-3, "weight_decay": 0.1}


def sgd(**more):
    return lambda params: torch.optim.SGD(params, **MOMENTUM, **more)


class Uncorrected:
    """Adam(amsgrad=True) of torch, given lr and ε from which its corrections of the bias fall out again."""

    def __init__(self, params):
        self.adam, self.t = torch.optim.Adam(params, amsgrad=True, **AMS), 0

    def step(self):
        self.t += 1
        c1, c2 = (1 - beta**self.t for beta in AMS["betas"])
        group = self.adam.param_groups[0]
        group["lr"], group["eps"] = AMS["lr"] * c1 / c2**0.5, AMS["eps"] / c2**0.5
        self.adam.step()


CASES = [
    # torch's Muon takes matrices only and computes in bf16: tests/optim/test_muon.py has it
    *(
        twin(cls, hyper)
        for name, cls in registry().items()
        if cls.twin and name != "muon"
        for hyper in [{}, *SETTINGS[cls.__name__]]
    ),
    Case("Momentum", TORCH, MOMENTUM, sgd(), note=f"SGD; {OUTSIDE}"),
    Case("Momentum", TORCH, MOMENTUM | {"form": "polyak"}, sgd(), note="SGD; the same path while lr stays"),
    Case("Momentum", TORCH, AVERAGE | {"form": "average"}, sgd(), note="SGD, whose rate is (1 − γ) times ours"),
    Case("NAG", TORCH, MOMENTUM, sgd(nesterov=True), note=f"SGD's nesterov holds our look-ahead points; {OUTSIDE}"),
    Case(
        "NAG",
        TORCH,
        AVERAGE | {"form": "average"},
        sgd(nesterov=True),
        note="SGD's nesterov holds our look-ahead points; its rate is (1 − γ) times ours",
    ),
    Case("AMSGrad", TORCH, AMS, Uncorrected, note="Adam's amsgrad, its bias corrections undone through lr and ε"),
]
