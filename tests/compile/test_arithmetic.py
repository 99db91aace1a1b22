"""Arithmetic is torch's: words on elements, powers, and what the host computes; of infinities and NaN too."""

import math

import pytest
import torch
from toys import BACKENDS, rule, run

from ravine import words
from ravine.compile.check import POWERS
from ravine.compile.emit import host
from ravine.compile.expr import HOST, leaf
from ravine.compile.interpret import evaluate
from ravine.words import sqrt, where


@BACKENDS
def test_words_are_torchs_functions(backend):
    x = torch.tensor([-2.0, -0.0, 0.0, 0.5, 3.0, math.inf, -math.inf, math.nan], dtype=torch.float64)
    pairs = {
        "abs": (words.abs, torch.abs),
        "sqrt": (sqrt, torch.sqrt),
        "sign": (words.sign, lambda x: torch.where(x.isnan(), x, x.sign())),  # torch hides a NaN here
        "maximum": (lambda g: words.maximum(g, 0.25), lambda x: torch.maximum(x, torch.tensor(0.25).double())),
        "minimum": (lambda g: words.minimum(0.25, g), lambda x: torch.minimum(x, torch.tensor(0.25).double())),
        "where": (lambda g: where(g <= 0.5, g, 7.0), lambda x: torch.where(x <= 0.5, x, 7.0)),
        "lerp": (lambda g: words.lerp(g, 2.0, 0.25), lambda x: x + 0.25 * (2 - x)),
        "neg": (lambda g: -g, torch.neg),
    }
    for mine, theirs in pairs.values():
        cls = rule(lambda self, s, p, g, t, mine=mine: 0 * p + mine(g))
        p, _ = run(cls, [x], x.shape, backend)
        torch.testing.assert_close(p, theirs(x), rtol=3e-16, atol=0, equal_nan=True)  # torch's own root is 1 ulp off


@pytest.mark.parametrize("power", POWERS)
@BACKENDS
def test_powers(power, backend):
    cls = rule(lambda self, s, p, g, t: p - g**power)
    g = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    p, _ = run(cls, [g], (3,), backend)
    assert torch.allclose(p, 1 - g**power, rtol=1e-14, atol=0)


T = leaf("t", "t")
A, B = leaf("hyper", "a"), leaf("hyper", "b")
NUMBERS = {
    "powers": A**T - B ** (T + 1),
    "a negative base": (-1.0) ** T,
    "a negative base, computed": (A - 2) ** T,
    "a negative exponent": T**-0.5,
    "division by nothing": 1 / (A - A),
    "nothing by nothing": (A - A) / (A - A),
    "the root of less than nothing": sqrt(A - 10),
    "a root that is not taken": where(A > 1, sqrt(1 - A), B),
    "a power too large": (A * 1e200) ** 2,
    "a broken power of less than nothing": (A - 10) ** 0.5,
    "the larger of something and NaN": words.maximum(B, sqrt(A - 10)),
    "the larger of NaN and something": words.maximum(sqrt(A - 10), B),
    "the smaller of something and NaN": words.minimum(B, sqrt(A - 10)),
    "whole numbers": words.floor(T / 3 - B) + words.floor(-T * A),
    "the whole part of infinity": words.floor(1 / (A - A)),
    "the whole part of nothing": words.floor((A - A) / (A - A)),
    "infinity": where(T > 2, math.inf, A),
    "minus infinity": words.maximum(-math.inf, A),
    "a state": leaf("state", "s") * A,
    "a comparison": where(A >= B, A, -B),
    "less": where(A < B, words.abs(-A), 2.0),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("t", [1.0, 2.0, 3.0, 1000.0])
def test_the_host_computes_as_torch_does(name, t):
    hyper, state, x = {"a": 0.9, "b": 0.999}, {"s": 0.3}, NUMBERS[name]
    assert x.shape is HOST

    def read(x):
        found = t if x.op == "t" else state["s"] if x.op == "state" else hyper[x.arg]
        return torch.tensor(found, dtype=torch.float64)

    expected = evaluate([x], read, torch.empty(0))[x].item()
    (found,) = host.build([x])(t, state, hyper)
    assert isinstance(found, float)
    assert found == pytest.approx(expected, rel=1e-14, nan_ok=True)
