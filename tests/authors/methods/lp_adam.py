"""The Lᵖ family at p = 2, where it is Adam with β₂²: the only member that anyone else has."""

import torch
from trajectory import Case

CASES = [
    Case(
        "LpAdam",
        f"torch {torch.__version__}",
        {"lr": 1e-2, "betas": (0.85, 0.98), "weight_decay": 0.1, "p": 2},
        lambda params: torch.optim.Adam(params, lr=1e-2, betas=(0.85, 0.98**2), weight_decay=0.1),
    )
]
