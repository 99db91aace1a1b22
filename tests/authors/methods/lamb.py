"""LAMB beside timm's, which follows NVIDIA's, and a port of the first version in PyTorch."""

from torch_optimizer import Lamb
from trajectory import Case

AT = "huggingface/pytorch-image-models@aa4b5850c154 timm/optim/lamb.py"
HYPER = {"lr": 3e-3, "betas": (0.85, 0.97), "weight_decay": 0.2}
FREE = {k: x for k, x in HYPER.items() if k != "weight_decay"}
NOTE = "without its clipping of all gradients together (max_grad_norm=None)"

CASES = [
    Case("LAMB", AT, HYPER, recorded="lamb", note=NOTE),
    Case("LAMB", AT, HYPER | {"trust_clip": True}, recorded="lamb_clip", note=NOTE),
    Case("LAMB", AT, FREE, recorded="lamb_always", note=NOTE),
    Case("LAMB", AT, FREE | {"always_adapt": False}, recorded="lamb_unadapted", note=NOTE),
    Case(
        "LAMB",
        "torch-optimizer 0.3.0",
        HYPER | {"bias_correction": False},
        lambda params: Lamb(params, **HYPER),
        note="it takes at most 10 for ‖p‖, which no tensor here reaches",
    ),
]
