"""Adafactor in the paper's form beside fairseq's, which most others copy, a port of it, and torch's own."""

import torch
import torch_optimizer
from pytorch_optimizer import AdaFactor
from trajectory import Case

AT = "facebookresearch/fairseq@3d262bb25690 fairseq/optim/adafactor.py"
OWN = {"form": "paper", "eps": (1e-30, 1e-3)}
FIXED = {"lr": 0.03, "relative_step": False, "scale_parameter": False, "weight_decay": 0.1}
MATRICES = ((6, 4), (5,))
CLIPPED = {"d": 0.7, "beta2_decay": -0.6, "eps": (1e-4, 0.5)}
TORCH = {"lr": 0.3, "beta2_decay": -0.6, "eps": (0.05, 0.5), "d": 1.1, "weight_decay": 0.1}

CASES = [
    Case("Adafactor", AT, {"form": "paper"}, recorded="adafactor_fairseq"),
    Case("Adafactor", AT, {"form": "paper"} | CLIPPED, recorded="adafactor_fairseq_clip"),
    Case(
        "Adafactor",
        AT,
        OWN | FIXED | {"beta1": 0.8},
        recorded="adafactor_fairseq_fixed",
        note="only at one rate for all steps: theirs averages the update times the rate; and its decay takes α for lr",
    ),
    Case(
        "Adafactor",
        "torch-optimizer 0.3.0",
        OWN | {"d": 0.7},
        lambda params: torch_optimizer.Adafactor(params, clip_threshold=0.7),
        shapes=MATRICES,
        note="theirs is for at most two dimensions",
    ),
    Case(
        "Adafactor",
        "pytorch_optimizer 4.1.0",
        OWN | FIXED | {"d": 0.9, "beta1": 0.8},
        lambda params: AdaFactor(
            params,
            lr=0.03,
            betas=(0.8, 1.0 - 1e-12),
            relative_step=False,
            scale_parameter=False,
            weight_decay=0.1,
            clip_threshold=0.9,
            momentum_dtype=torch.float64,
            foreach=False,
        ),
        note="its cap of β₂ put out of reach; version 3.10.0 turned the clip round",
    ),
    Case("Adafactor", "torch", TORCH, lambda params: torch.optim.Adafactor(params, **TORCH)),
]
