"""AggMo beside the authors' code and a port of it."""

from torch_optimizer import AggMo
from trajectory import Case

AT = "AtheMathmo/AggMo@f91730d1c3d8 src/aggmo.py"
HYPER = {"lr": 0.02, "betas": (0.0, 0.85, 0.97), "weight_decay": 0.1}
CASES = [
    Case("AggMo", AT, HYPER, recorded="aggmo"),
    Case("AggMo", AT, {"lr": 0.005, "betas": (0.0, 0.9, 0.99)}, recorded="aggmo_exp"),
    Case("AggMo", "torch-optimizer 0.3.0", HYPER, lambda params: AggMo(params, **HYPER)),
]
