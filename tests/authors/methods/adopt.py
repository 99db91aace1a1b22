"""ADOPT beside the authors' file."""

from trajectory import Case

SOURCE = "iShohei220/adopt@6468572b4b36 src/adopt/adopt.py"
HYPER = {"lr": 1e-2, "betas": (0.85, 0.98), "weight_decay": 0.1}

CASES = [
    Case("ADOPT", SOURCE, HYPER | {"decouple": True}, recorded="adopt"),
    Case("ADOPT", SOURCE, HYPER | {"eps": 0.3, "clip": False}, recorded="adopt_l2_unclipped"),
]
