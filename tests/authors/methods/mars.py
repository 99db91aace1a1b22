"""MARS beside the authors' code and a library."""

import pytorch_optimizer
from trajectory import Case

HYPER = {"lr": 1e-2, "betas": (0.85, 0.97), "eps": 1e-6, "weight_decay": 0.1, "gamma": 0.1}
SOURCE = "AGI-Arena/MARS@4831e28eba86 MARS/optimizers/mars.py"
NOTE = "optimize_1d=True in theirs: otherwise tensors that are not matrices take AdamW"

CASES = [
    Case("MARS", SOURCE, HYPER, recorded="mars", note=NOTE),
    Case("MARS", SOURCE, HYPER | {"amsgrad": True}, recorded="mars_amsgrad", note=NOTE),
    Case(
        "MARS",
        "pytorch-optimizer 4.1.0",
        HYPER | {"eps": 0.0},
        lambda params: pytorch_optimizer.MARS(params, optimize_1d=True, foreach=False, **(HYPER | {"eps": 0.0})),
        note=f"{NOTE}; ε is 0 since theirs adds it before v is corrected",
    ),
]
