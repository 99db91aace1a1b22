"""Adan beside the authors' file and a library."""

import pytorch_optimizer
from trajectory import Case

SOURCE = "sail-sg/Adan@2c65beaf4007 adan.py"
HYPER = {"lr": 1e-2, "betas": (0.95, 0.85, 0.98), "weight_decay": 0.1}
PLAIN = {k: x for k, x in HYPER.items() if k != "weight_decay"}

CASES = [
    Case("Adan", SOURCE, HYPER, recorded="adan"),
    Case("Adan", SOURCE, HYPER | {"no_prox": True}, recorded="adan_no_prox"),
    Case(
        "Adan", "pytorch-optimizer 4.1.0", HYPER, lambda params: pytorch_optimizer.Adan(params, foreach=False, **HYPER)
    ),
    Case(
        "Adan", "pytorch-optimizer 4.1.0", PLAIN, lambda params: pytorch_optimizer.Adan(params, foreach=False, **PLAIN)
    ),
]
