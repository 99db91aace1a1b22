"""Lion beside the authors' file and the package most people install."""

from lion_pytorch import Lion
from trajectory import Case

HYPER = {"lr": 3e-3, "betas": (0.85, 0.97), "weight_decay": 0.2}
CASES = [
    Case("Lion", "google/automl@6a54c8741e7c lion/lion_pytorch.py", HYPER, recorded="lion"),
    Case("Lion", "lion-pytorch 0.2.5", HYPER, lambda params: Lion(params, **HYPER)),
]
