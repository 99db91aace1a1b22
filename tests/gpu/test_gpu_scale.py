"""Norms in Triton's kernels are finite and not 0, however large or small the gradients are."""

import pytest
import torch
from pairs import Pair, gradients, tensors

import ravine
from ravine.mods import AGC, ClipNorm, ClipTensorNorm

RULES = {
    "clip": lambda scale: (ravine.SGD, {"lr": 1 / scale, "mods": [ClipNorm(0.5 * scale, eps=0.0)]}),
    "clip_tensor": lambda scale: (ravine.SGD, {"lr": 1 / scale, "mods": [ClipTensorNorm(0.5 * scale, eps=0.0)]}),
    "agc": lambda scale: (ravine.SGD, {"lr": 1 / scale, "mods": [AGC(0.1 * scale, eps=1e-3)]}),
    "lars": lambda scale: (ravine.LARS, {"lr": 1.0, "trust_coefficient": 0.1}),
    "lamb": lambda scale: (ravine.LAMB, {"lr": 0.1, "mods": [ClipNorm(min(1.0, scale), eps=0.0)]}),
}


@pytest.mark.parametrize("scale", [1e25, 1e-25])
@pytest.mark.parametrize("rule", RULES)
def test_triton_is_the_reference(device, rule, scale):
    cls, hyper = RULES[rule](scale)
    params = tensors(device, torch.float32)
    begun = [p.detach().cpu().clone() for p in params]
    pair = Pair(cls, params, measured=True, nonfinite="raise", **hyper)
    for t in range(2):
        pair.step([scale * g for g in gradients(params, t)])
        pair.agree()
        ours, law = pair.opt.metrics()["grad_norm"].item(), pair.ref.metrics()["grad_norm"].item()
        assert ours == pytest.approx(law, rel=1e-6)
        assert law > 10 * scale
    assert sum((p.detach().cpu() - q).norm() for p, q in zip(params, begun, strict=True)) > 1e-2
