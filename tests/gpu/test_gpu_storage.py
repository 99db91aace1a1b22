"""Compressed states, weights in two parts, guards and measures by Triton are those of the reference."""

import pytest
import torch
from pairs import Pair, close, gradients, tensors

import ravine
from ravine.compile.launch.base import as_numbers
from ravine.mods import ClipNorm

SHAPES = [(), (0,), (1023,), (5000,), (64, 130)]
RULES = [ravine.AdamW, ravine.Lion, ravine.Adagrad, ravine.LAMB]


def read(opt, p):
    """The states of a parameter as numbers."""
    bound = next(b for batch in opt._arranged.batches for b in batch.bound if b.p is p)
    return {k: as_numbers(bound, k).cpu() for k in bound.keys if not k.endswith((".scale", ".bits"))}


@pytest.mark.parametrize("rule", [RULES[0], *(pytest.param(x, marks=pytest.mark.slow) for x in RULES[1:])])
@pytest.mark.parametrize("storage", ["bf16", "int8"])
@pytest.mark.parametrize("bits", [None, 0, 8, 16])
def test_kinds(device, rule, storage, bits):
    dtype = torch.float32 if bits is None else torch.bfloat16
    pair = Pair(rule, tensors(device, dtype, SHAPES), storage=storage, master_bits=bits, seed=2)
    for t in range(2):
        pair.step(gradients(pair.law, t))
    for p, q in zip(pair.ours, pair.law, strict=True):
        grain = 2.0**-6 if bits is not None else 2e-3
        assert (p.detach().cpu().double() - q.detach().double()).abs().max() <= grain if q.numel() else True
        ours, law = read(pair.opt, p), read(pair.ref, q)
        for k, x in law.items():
            far = (ours[k].double() - x.double()).abs() > 1e-5 + 1e-3 * x.double().abs()
            assert far.sum() <= 2 + 0.02 * x.numel(), k  # where a number lay between two codes


@pytest.mark.parametrize("storage", ["bf16", "int8"])
def test_a_nan_comes_through(device, storage):
    pair = Pair(ravine.Adam, tensors(device, torch.float32, [(5000,)]), storage=storage)
    for t in range(2):
        pair.step(gradients(pair.law, t, special=True))
    for p, q in zip(pair.ours, pair.law, strict=True):
        assert torch.equal(p.detach().cpu().isnan(), q.detach().isnan())


def test_rows_and_columns_in_two_bytes(device):
    pair = Pair(ravine.Adafactor, tensors(device, torch.bfloat16, [(40, 50)]), storage="bf16", master_bits=16)
    for t in range(2):
        pair.step(gradients(pair.law, t))
    for p, q in zip(pair.ours, pair.law, strict=True):
        close("parameter", p, q)


def test_guard_and_measures(device):
    pair = Pair(
        ravine.AdamW, tensors(device, torch.float32, SHAPES), nonfinite="skip", measured=True, mods=[ClipNorm(0.5)]
    )
    for t in range(2):
        pair.step(gradients(pair.law, t))
    pair.agree()
    for k, x in pair.ref.metrics().items():
        close(k, pair.opt.metrics()[k], x, 1e-5)
    grads = gradients(pair.law, 2)
    grads[2][5] = torch.inf
    pair.step(grads)
    assert pair.opt.skipped == pair.ref.skipped == 1
    pair.agree()
