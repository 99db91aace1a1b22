"""Dion2 beside the authors' code."""

from trajectory import Case

SOURCE = "microsoft/dion@0a059a4542e5aa74b40dcd1dce363836c7afcd48 dion/dion2.py"
THEIRS = {
    "shapes": ((6, 4), (4, 4), (3, 5)),
    "note": "recorded in float64, with Jordan's polynomial given to theirs; matrices alone",
}
HYPER = {"lr": 1 / 64, "ef_decay": 15 / 16, "weight_decay": 1 / 64, "polynomials": "given"}  # exact in float32
HALF = {"fraction": 0.5, "ef_decay": 0.75, "weight_decay": 0.125, "adjust_lr": "rms_norm"}

CASES = [
    Case("Dion2", SOURCE, HYPER, recorded="dion2", **THEIRS),
    Case("Dion2", SOURCE, HYPER | HALF, recorded="dion2_half", **THEIRS),
    Case("Dion2", SOURCE, HYPER | {"fraction": 1.0, "adjust_lr": None}, recorded="dion2_all", **THEIRS),
]
