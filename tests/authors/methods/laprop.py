"""LaProp beside the authors' file and a library."""

import pytorch_optimizer
from trajectory import Case

HYPER = {"lr": 3e-3, "betas": (0.85, 0.97), "eps": 1e-6, "weight_decay": 0.1}
SOURCE = "Z-T-WANG/LaProp-Optimizer@a419916505bf laprop.py"
NOTE = "theirs is given λ = lr times ours, which it takes off without lr; lr is constant, as it must be to agree"

CASES = [
    Case("LaProp", SOURCE, HYPER, recorded="laprop", note=NOTE),
    Case("LaProp", SOURCE, HYPER | {"amsgrad": True}, recorded="laprop_amsgrad", note=NOTE),
    Case(
        "LaProp",
        "pytorch-optimizer 4.1.0",
        HYPER | {"eps": 1e-15},
        lambda params: pytorch_optimizer.LaProp(params, foreach=False, **HYPER | {"eps": 1e-15}),
        note="theirs adds ε to √v before it is corrected: a small one here. foreach=True rounds rates to float32",
    ),
]
