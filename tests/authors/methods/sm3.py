"""SM3 beside a port of the authors' TensorFlow code, which has SM3-II alone, and a port of that."""

from pytorch_optimizer import SM3
from trajectory import Case

AT = "Enealor/PyTorch-SM3@fd9e96e8c9a3 src/SM3/SM3.py"
FLAT = ((6, 4), (5,), (1, 7))
NOTE = "at most two dimensions: theirs has a number for each index of every dimension; β = 0"

CASES = [
    Case("SM3", AT, {"lr": 0.1}, recorded="sm3", shapes=FLAT, note=NOTE),
    Case("SM3", AT, {"lr": 0.05, "momentum": 0.0}, recorded="sm3_plain", shapes=FLAT, note=NOTE),
    Case(
        "SM3",
        "pytorch_optimizer 4.1.0",
        {"lr": 0.1, "momentum": 0.8},
        lambda params: SM3(params, lr=0.1, momentum=0.8, foreach=False),
        shapes=FLAT,
        note=NOTE,
    ),
]
