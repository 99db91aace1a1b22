"""MoMo and MoMo-Adam beside their authors' package."""

import momo
import torch
from trajectory import Case

AT = "momo-opt 0.1.0"
NOTE = "stepped with torch's default type float64, in which it keeps ⟨g, p⟩"
MOMO = {"lr": 0.5, "beta": 0.8}
ADAM = {"lr": 0.3, "betas": (0.85, 0.97)}
BOUND = {"lb": 2.0, "weight_decay": 0.1}


def step(opt, at):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    opt.step(loss=torch.tensor(at))
    torch.set_default_dtype(before)


def case(method, theirs, hyper):
    return Case(method, AT, hyper, lambda params: theirs(params, **hyper), loss=True, step=step, note=NOTE)


CASES = [
    case("MoMo", momo.Momo, {"lr": 0.2}),
    case("MoMo", momo.Momo, MOMO | BOUND),
    case("MoMo", momo.Momo, MOMO | BOUND | {"bias_correction": True}),
    case("MoMo", momo.Momo, MOMO | BOUND | {"use_fstar": True}),
    case("MoMo", momo.Momo, MOMO | {"use_fstar": True, "bias_correction": True, "lb": -1.0}),
    case("MoMoAdam", momo.MomoAdam, {"lr": 1e-2}),
    case("MoMoAdam", momo.MomoAdam, ADAM | BOUND),
    case("MoMoAdam", momo.MomoAdam, ADAM | BOUND | {"divide": False, "eps": 1e-4}),
    case("MoMoAdam", momo.MomoAdam, ADAM | {"use_fstar": True}),
]
