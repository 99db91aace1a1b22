"""SGDW beside timm's and a port; the authors' own is Lua."""

from pytorch_optimizer import SGDW
from trajectory import Case

AT = "huggingface/pytorch-image-models@aa4b5850c154 timm/optim/sgdw.py"
HYPER = {"lr": 0.02, "momentum": 0.85, "weight_decay": 0.2}
NOTE = "theirs has lr outside the momentum: the same path while lr stays"

CASES = [
    Case("SGDW", AT, HYPER, recorded="sgdw", note=NOTE),
    Case("SGDW", AT, HYPER | {"nesterov": True}, recorded="sgdw_nesterov", note=NOTE),
    Case(
        "SGDW",
        "pytorch_optimizer 4.1.0",
        HYPER,
        lambda params: SGDW(params, **HYPER, weight_decouple=True),
        note=NOTE,
    ),
]
