"""StableAdamW beside optimi and another library; its authors published only the pseudocode."""

import pytorch_optimizer
from trajectory import Case

HYPER = {"lr": 1e-2, "betas": (0.85, 0.97), "eps": 1e-6, "weight_decay": 0.1}

CASES = [
    Case("StableAdamW", "warner-benjamin/optimi@17a3d5422f3e optimi/stableadamw.py", HYPER, recorded="stable_adamw"),
    Case(
        "StableAdamW",
        "pytorch-optimizer 4.1.0",
        HYPER,
        lambda params: pytorch_optimizer.StableAdamW(params, foreach=False, **HYPER),
    ),
]
