"""signSGD and Signum beside a port; the authors' own runs on mxnet, whose Signum is written in C++."""

from pytorch_optimizer import SignSGD
from trajectory import Case

AT = "pytorch_optimizer 4.1.0"
SIGN = {"lr": 3e-3, "weight_decay": 0.1}
MOMENTUM = SIGN | {"momentum": 0.85}
DECOUPLED = {"decoupled_weight_decay": True}

CASES = [
    Case("SignSGD", AT, SIGN, lambda params: SignSGD(params, **SIGN, momentum=0.0, weight_decouple=False)),
    Case("SignSGD", AT, SIGN | DECOUPLED, lambda params: SignSGD(params, **SIGN, momentum=0.0, weight_decouple=True)),
    Case("Signum", AT, MOMENTUM, lambda params: SignSGD(params, **MOMENTUM, weight_decouple=False)),
    Case("Signum", AT, MOMENTUM | DECOUPLED, lambda params: SignSGD(params, **MOMENTUM, weight_decouple=True)),
]
