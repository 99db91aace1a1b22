"""LARS beside the code of MoCo v3, timm's, and a port."""

from pytorch_optimizer import LARS
from trajectory import Case

MATRICES = ((6, 4), (2, 5), (3, 2, 2, 3))
HYPER = {"lr": 0.5, "weight_decay": 0.05, "momentum": 0.85, "trust_coefficient": 0.02}
PLAIN = {k: x for k, x in HYPER.items() if k != "weight_decay"}
TIMM = "huggingface/pytorch-image-models@aa4b5850c154 timm/optim/lars.py"
OUTSIDE = "theirs has lr outside the momentum: the same path while lr stays"
VECTORS = ", and leaves vectors unscaled"

CASES = [
    Case(
        "LARS",
        "facebookresearch/moco-v3@c349e6e24f40 moco/optimizer.py",
        HYPER | {"denominator": "decayed"},
        recorded="lars_moco",
        shapes=MATRICES,
        note=OUTSIDE + VECTORS,
    ),
    Case("LARS", TIMM, HYPER | {"eps": 1e-3}, recorded="lars_timm", note=OUTSIDE),
    Case("LARS", TIMM, PLAIN, recorded="lars_timm_always", note="always_adapt: theirs is plain SGD without decay"),
    Case(
        "LARS",
        "pytorch_optimizer 4.1.0",
        HYPER,
        lambda params: LARS(params, **HYPER),
        shapes=MATRICES,
        note=OUTSIDE + VECTORS,
    ),
]
