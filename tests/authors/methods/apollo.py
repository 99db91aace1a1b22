"""APOLLO and APOLLO-Mini beside the authors' code."""

from trajectory import Case

SOURCE = "apollo-torch 1.0.3 apollo_torch/apollo.py"
SHAPES = ((6, 4), (5,), (4, 7))  # theirs takes matrices alone, and gives vectors to AdamW
SVD = "recorded with singular vectors in float64, where theirs go through float32"
DRAWN = "recorded with ravine's random numbers in the place of torch's"
HYPER = {"lr": 1e-2, "update_proj_gap": 5, "betas": (0.9, 0.8), "weight_decay": 0.1, "eps": 1e-3}
MINI = HYPER | {"rank": 1, "scale": 128.0, "scale_type": "tensor"}

CASES = [
    Case("APOLLO", SOURCE, HYPER | {"rank": 2, "scale": 4.0}, recorded="apollo", shapes=SHAPES, note=DRAWN),
    Case("APOLLO", SOURCE, {"rank": 2, "proj": "svd"}, recorded="apollo_svd", shapes=SHAPES, note=SVD),
    Case("APOLLO", SOURCE, MINI, recorded="apollo_mini", shapes=SHAPES, note=DRAWN),
    Case("APOLLO", SOURCE, MINI | {"norm_growth": 0.0}, recorded="apollo_unlimited", shapes=SHAPES, note=DRAWN),
]
