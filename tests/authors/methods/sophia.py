"""Sophia-G beside the authors' file, whose estimate is the square of the gradient it is given, times bs."""

from trajectory import Case

SOURCE = "Liuhong99/Sophia@a7e157229b71 sophia.py"
HYPER = {"lr": 0.01, "betas": (0.8, 0.9), "rho": 0.5, "eps": 1e-15, "weight_decay": 0.1, "eps_added": True}

CASES = [
    Case(
        "SophiaG",
        SOURCE,
        HYPER,
        recorded="sophiag",
        curvature=4.0,
        note="bs is 4; both estimates are 4 g² at each step",
    )
]
