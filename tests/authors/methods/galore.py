"""GaLore beside the authors' code."""

from trajectory import Case

SOURCE = "galore-torch 1.0 galore_torch/adamw.py"
SHAPES = ((6, 4), (5,), (4, 7))  # theirs takes matrices alone, and gives vectors to AdamW
PLAIN = "recorded with singular vectors in float64, where theirs go through float32"
SIGNS = f"{PLAIN}, and with the signs that ravine gives them at a change of subspace: theirs are LAPACK's"
HYPER = {"lr": 1e-2, "rank": 2, "update_proj_gap": 5, "scale": 0.5, "betas": (0.9, 0.8)}
HYPER |= {"weight_decay": 0.1, "eps": 1e-3}

CASES = [
    Case("GaLore", SOURCE, {"rank": 2}, recorded="galore", shapes=SHAPES, note=PLAIN),
    Case("GaLore", SOURCE, HYPER, recorded="galore_often", shapes=SHAPES, note=SIGNS),
    *(
        Case("GaLore", SOURCE, HYPER | {"proj_type": kind}, recorded=name, shapes=SHAPES, note=SIGNS)
        for kind, name in (("reverse_std", "galore_reverse"), ("full", "galore_full"))
    ),
]
