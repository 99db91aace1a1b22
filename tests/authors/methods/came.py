"""CAME beside the authors' package and a port."""

import pytorch_optimizer
from came_pytorch import CAME
from trajectory import Case

HYPER = {"lr": 3e-3, "betas": (0.85, 0.97, 0.99), "eps": (1e-6, 1e-4), "clip_threshold": 0.8, "weight_decay": 0.1}
SPLIT = {k: x for k, x in HYPER.items() if k != "eps"}

CASES = [
    Case("CAME", "came-pytorch 0.1.3", {"lr": 2e-4}, lambda params: CAME(params, lr=2e-4)),
    Case("CAME", "came-pytorch 0.1.3", HYPER, lambda params: CAME(params, **HYPER)),
    Case(
        "CAME",
        "pytorch_optimizer 4.1.0",
        HYPER,
        lambda params: pytorch_optimizer.CAME(params, **SPLIT, eps1=1e-6, eps2=1e-4, foreach=False),
    ),
]
