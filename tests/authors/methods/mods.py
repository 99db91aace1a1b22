"""Rules with modifiers beside the authors' files, and beside torch's own utilities."""

import torch
from trajectory import Case

from ravine.mods import AGC, Cautious, Centralize, ClipNorm, ClipTensorNorm, ClipValue, DecoupledDecay, Grams

EPS = "their ε stands beside √v that is not corrected, as in transformers' AdamW: compared with ε = 0"
FULL = {"lr": 1e-2, "eps": 0.0}


def adamw(params):
    return torch.optim.AdamW(params, lr=1e-2)


def after(clip):
    """A step after all gradients have gone through `clip`."""

    def step(opt, _):
        clip(opt.param_groups[0]["params"])
        opt.step()

    return step


def clip_each(params):
    for p in params:
        torch.nn.utils.clip_grad_norm_(p, 0.5)


CASES = [
    Case(
        "Adam",
        "kyleliang919/C-Optim@2c0517c4db2e c_adamw.py",
        FULL | {"mods": [Cautious(), DecoupledDecay(0.1)]},
        recorded="cautious_adamw",
        note=EPS,
    ),
    Case(
        "Lion",
        "kyleliang919/C-Optim@2c0517c4db2e c_lion.py",
        {"lr": 1e-3, "betas": (0.95, 0.98), "mods": [Cautious(plus_one=True), DecoupledDecay(0.1)]},
        recorded="cautious_lion",
    ),
    Case(
        "Adam",
        "Gunale0926/Grams@f91a375daaa8 grams/src/grams.py",
        FULL | {"mods": [Grams(), DecoupledDecay(0.1)]},
        recorded="grams",
        note=EPS,
    ),
    Case(
        "SGD",
        "huggingface/pytorch-image-models@aa4b5850c154 timm/utils/agc.py",
        {"lr": 1.0, "momentum": 0.9, "mods": [AGC(0.05)]},
        recorded="agc_timm",
    ),
    Case(
        "SGD",
        "Yonghongwei/Gradient-Centralization@ed2a608ccdbb algorithm-GC/algorithm/SGD.py",
        {"lr": 1e-2, "momentum": 0.9, "mods": [Centralize()]},
        recorded="centralized_sgd",
        note="their decay is added before the centralization, ours after: compared without",
    ),
    Case(
        "AdamW",
        "torch clip_grad_norm_",
        {"lr": 1e-2, "mods": [ClipNorm(0.5)]},
        adamw,
        step=after(lambda params: torch.nn.utils.clip_grad_norm_(params, 0.5)),
    ),
    Case(
        "AdamW",
        "torch clip_grad_norm_ of each",
        {"lr": 1e-2, "mods": [ClipTensorNorm(0.5)]},
        adamw,
        step=after(clip_each),
    ),
    Case(
        "AdamW",
        "torch clip_grad_value_",
        {"lr": 1e-2, "mods": [ClipValue(0.3)]},
        adamw,
        step=after(lambda params: torch.nn.utils.clip_grad_value_(params, 0.3)),
    ),
]
