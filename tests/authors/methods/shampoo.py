"""Shampoo beside Meta's distributed Shampoo."""

from trajectory import Case

SOURCE = (
    "facebookresearch/optimizers@f60660661194de26d3ee78bae6d15820ff8e583d distributed_shampoo/distributed_shampoo.py"
)
# theirs has a full matrix for a vector, and corrects for the zero start in float32
THEIRS = {"shapes": ((4, 4), (3, 4)), "tolerance": 1e-6, "note": "matrices alone; it corrects averages in float32"}
HYPER = {"betas": (0.9, 0.8), "eps": 1e-4, "average": True, "weight_decay": 0.1, "graft_eps": 1e-5}

CASES = [
    Case("Shampoo", SOURCE, {"eps": 1e-4}, recorded="shampoo", **THEIRS),
    Case("Shampoo", SOURCE, HYPER | {"graft": "adam", "decouple": True}, recorded="shampoo_adam", **THEIRS),
    Case("Shampoo", SOURCE, HYPER | {"graft": "adagrad"}, recorded="shampoo_adagrad", **THEIRS),
]
