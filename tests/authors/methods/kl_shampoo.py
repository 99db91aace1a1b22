"""KL-Shampoo and KL-SOAP beside the authors' code."""

from trajectory import Case

SOURCE = "yorkerlin/KL-Methods@a02e6221556301cf84f9607c73f327910afb2b95 optim/kl_opt.py"
NOTE = (
    "recorded with their roundings to float32 left out; where the first gradient has a null space, LAPACK's rounding \
decides theirs, and they have no vectors"
)
OFTEN = {"lr": 1e-2, "betas": (0.8, 0.9), "shampoo_beta": 0.7, "eps": 1e-3, "weight_decay": 0.1}
FREE = {"interval": 3, "normalize": True, "initial": 0.5, "max_root": 0.0}
SHAPES = ((4, 4), (4, 3), (3, 4))

CASES = [
    Case("KLShampoo", SOURCE, {"lr": 1e-2}, recorded="kl_shampoo", shapes=SHAPES, note=NOTE),
    Case("KLShampoo", SOURCE, OFTEN | FREE, recorded="kl_shampoo_often", shapes=SHAPES, note=NOTE),
    Case("KLSOAP", SOURCE, {"lr": 1e-2}, recorded="kl_soap", shapes=SHAPES, note=NOTE),
    Case("KLSOAP", SOURCE, OFTEN | {"interval": 1}, recorded="kl_soap_every_step", shapes=SHAPES, note=NOTE),
]
