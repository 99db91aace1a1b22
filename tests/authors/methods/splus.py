"""SPlus beside the authors' code."""

from trajectory import Case

SOURCE = "kvfrans/splus@d96bd16bc6c937256e2a28e5bf2cbd8c4984da68 torch/splus.py"
NOTE = "their factors in float64; shapes whose first factors have no null space but one dimension"
HYPER = {"lr": 0.03, "betas": (0.8, 0.9), "ema_rate": 0.9, "interval": 3, "weight_decay": 0.3, "vector_scale": 0.1}
SHAPES = ((4, 4), (5,), (3, 4))

CASES = [
    Case("SPlus", SOURCE, recorded="splus", shapes=SHAPES, note=NOTE),
    Case("SPlus", SOURCE, HYPER, recorded="splus_often", shapes=SHAPES, note=NOTE),
]
