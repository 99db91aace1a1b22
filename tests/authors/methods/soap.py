"""SOAP beside the authors' code."""

from trajectory import Case

SOURCE = "nikhilvyas/SOAP@a1e553530fde97d0e6b307d7c82ac6d38b072340 soap.py"
NOTE = "recorded with their roundings to float32 left out; where the first gradient has a null space, as in the shapes \
that other records use, LAPACK's rounding decides theirs"
HYPER = {"lr": 1e-2, "betas": (0.9, 0.8), "shampoo_beta": 0.7, "weight_decay": 0.1, "eps": 1e-3}
EVERY = {"interval": 1, "normalize": True, "bias_correction": False}
SHAPES = ((4, 4), (5,), (3, 4))

CASES = [
    Case("SOAP", SOURCE, recorded="soap", shapes=SHAPES, note=NOTE),
    Case("SOAP", SOURCE, HYPER | {"interval": 3}, recorded="soap_often", shapes=SHAPES, note=NOTE),
    Case("SOAP", SOURCE, HYPER | EVERY, recorded="soap_every_step", shapes=SHAPES, note=NOTE),
]
