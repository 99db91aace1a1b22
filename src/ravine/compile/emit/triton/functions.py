"""Functions that the kernels call."""

from __future__ import annotations

import math
from collections.abc import Iterable

# The instruction of the GPU rounds to nearest even; Triton's interpreter truncates, so there it is done on the bits.
NEAREST = """
@triton.jit
def bfloat16(x):
    return x.to(tl.bfloat16)
"""
NEAREST_BITS = """
@triton.jit
def bfloat16(x):
    bits = x.to(tl.uint32, bitcast=True)
    near = (bits + 32767 + ((bits >> 16) & 1)) >> 16
    word = tl.where(x == x, near, (bits >> 16) | 64)
    return word.to(tl.uint16).to(tl.bfloat16, bitcast=True)
"""

# A maximum that a NaN gets through.
LARGEST = """
@triton.jit
def largest(x, axis: tl.constexpr):
    top = tl.max(tl.where(x == x, x, float("-inf")), axis)
    return tl.where(tl.max((x != x).to(tl.int32), axis) == 0, top, float("nan"))
"""

# The cube root: a third of the exponent's bits is a guess to 4 %, and each step of Halley's method triples its digits.
# Below the smallest normal number x is scaled first.
CBRT = """
@triton.jit
def cbrt{size}(x):
    size = tl.abs(x)
    small = size < {least}
    a = tl.where(small, size * {up}, size)
    y = (a.to(tl.int{size}, bitcast=True) // 3 + {magic}).to(tl.float{size}, bitcast=True)
    for _ in tl.static_range({steps}):
        cube = y * y * y
        y = tl.fma(y, {quotient}, y)
    root = tl.where(small, y * {down}, y)
    root = tl.where((a == 0) | (a == float("inf")), size, root)
    return tl.where(x < 0, -root, root)
"""
KINDS = {
    32: {
        "magic": 709921077,
        "steps": 3,
        "least": 2.0**-126,
        "up": 2.0**24,
        "down": 2.0**-8,
        "quotient": "tl.div_rn(a - cube, cube + cube + a)",
    },
    64: {
        "magic": 3071306043645493248,
        "steps": 4,
        "least": 2.0**-1022,
        "up": 2.0**54,
        "down": 2.0**-18,
        "quotient": "(a - cube) / (cube + cube + a)",
    },
}

# Standard normal numbers: Philox 4x32-10 (Salmon et al. 2011) with the key (seed, index) at the counters (i, t), then
# Box and Muller.
NORMAL = """
@triton.jit
def normal(seed, index, i, t):
    key = (seed & 0xFFFFFFFF) | (index << 32)
    zero = tl.zeros_like(i).to(tl.uint32)
    a, b, _, _ = tl.philox(key, i.to(tl.uint32), (i >> 32).to(tl.uint32), zero + t.to(tl.uint32), zero, 10)
    u = ((a >> 8).to(tl.float32) + 0.5) * {grain}
    v = ((b >> 8).to(tl.float32) + 0.5) * {grain}
    return tl.sqrt_rn(-2 * tl.log(u)) * tl.cos({turn} * v)
"""


def called(ops: set[str], dtypes: Iterable[str], interpreted: bool) -> list[str]:
    """The definitions of the functions that kernels with these ops call."""
    out = [NEAREST_BITS if interpreted else NEAREST] if "bfloat16" in dtypes else []
    out += [LARGEST] if "amax" in ops else []
    out += [CBRT.format(size=size, **kind) for size, kind in KINDS.items()] if "cbrt" in ops else []
    out += [NORMAL.format(grain=2.0**-24, turn=2 * math.pi)] if "normal" in ops else []
    return out
