"""Yogi beside two libraries; its authors published no code of their own for torch.

Both begin m at initial_accumulator, where the paper has 0. So they are compared where that is 0, and where
β₁ = 0 forgets it at once.
"""

import pytorch_optimizer
import torch_optimizer
from trajectory import Case

ZERO = {"lr": 1e-2, "betas": (0.85, 0.98), "eps": 1e-3, "initial_accumulator": 0.0, "weight_decay": 0.1}
FORGETFUL = ZERO | {"betas": (0.0, 0.98), "initial_accumulator": 0.3}
NOTE = "m begins at initial_accumulator in theirs"

CASES = [
    case
    for hyper in (ZERO, FORGETFUL)
    for case in (
        Case(
            "Yogi",
            "torch-optimizer 0.3.0",
            hyper,
            lambda params, hyper=hyper: torch_optimizer.Yogi(params, **hyper),
            note=NOTE,
        ),
        Case(
            "Yogi",
            "pytorch-optimizer 4.1.0",
            hyper | {"decoupled_weight_decay": True},
            lambda params, hyper=hyper: pytorch_optimizer.Yogi(params, adam_debias=False, foreach=False, **hyper),
            note=NOTE,
        ),
    )
]
