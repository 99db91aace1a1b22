"""QHM and QHAdam beside the authors' package."""

from pytorch_optimizer import QHM as PortedQHM
from qhoptim.pyt import QHM, QHAdam
from trajectory import Case

PLAIN = {"lr": 0.05, "momentum": 0.95, "nu": 0.7, "weight_decay": 0.1}
ADAM = {"lr": 3e-3, "betas": (0.95, 0.97), "nus": (0.7, 0.9), "weight_decay": 0.1}
DIRECT = {"decoupled_weight_decay": True}
AT = "qhoptim 1.1.0"

CASES = [
    Case("QHM", AT, PLAIN, lambda params: QHM(params, **PLAIN)),
    Case("QHM", AT, PLAIN | DIRECT, lambda params: QHM(params, **PLAIN, weight_decay_type="direct")),
    Case(
        "QHM",
        "pytorch_optimizer 4.1.0",
        PLAIN | DIRECT,
        lambda params: PortedQHM(params, **PLAIN, weight_decouple=True),
    ),
    Case("QHAdam", AT, ADAM, lambda params: QHAdam(params, **ADAM)),
    Case("QHAdam", AT, ADAM | DIRECT, lambda params: QHAdam(params, **ADAM, decouple_weight_decay=True)),
]
