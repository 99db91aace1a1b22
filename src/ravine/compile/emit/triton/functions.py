"""Functions that the kernels call."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ravine.compile.storage import BLOCK, CODED, EXTRA, FIRST, LEAST, SECOND, STOCHASTIC, STRIDE, THIRD

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

# A part of compile/storage.py: the key and the random bits of an element, and how numbers are split and joined.
MIX = f"""
@triton.jit
def mix(x):
    x = (x ^ (x >> 16)) * {FIRST}
    x = (x ^ (x >> 15)) * tl.full((), {SECOND}, tl.uint32)
    return x ^ (x >> 16)

@triton.jit
def key(seed, t, index, draw: tl.constexpr):
    x = mix((seed.to(tl.int64) + draw * {STRIDE}).to(tl.uint32))
    return mix(mix(x + t.to(tl.int64).to(tl.uint32)) + index.to(tl.uint32))

@triton.jit
def words(i, key):
    x = i.to(tl.uint32) * tl.full((), {STRIDE}, tl.uint32) + key
    x = (x ^ (x >> 15)) * tl.full((), {THIRD}, tl.uint32)
    return x ^ (x >> 16)

@triton.jit
def stochastic(x, few):
    bits = x.to(tl.uint32, bitcast=True)
    word = (bits + tl.where(x == x, few, 0)) >> 16
    return word.to(tl.uint16).to(tl.bfloat16, bitcast=True)

@triton.jit
def joined(p, low, shift: tl.constexpr):
    upper = p.to(tl.uint16, bitcast=True).to(tl.uint32) << 16
    size = upper & 0x7FFFFFFF
    low = tl.where((size != 0) & (size < 0x7F800000), low.to(tl.int32), 0)
    return (upper + (low.to(tl.uint32, bitcast=True) << shift)).to(tl.float32, bitcast=True)

@triton.jit
def split(x, few, shift: tl.constexpr):
    number = (x == x).to(tl.uint32)
    bits = (x.to(tl.uint32, bitcast=True) + number * few) >> shift << shift
    upper = (bits + number * 32768) >> 16
    low = (bits - (upper << 16)).to(tl.int32, bitcast=True) >> shift
    return upper.to(tl.uint16).to(tl.bfloat16, bitcast=True), low

@triton.jit
def coded(x, few, top: tl.constexpr, signed: tl.constexpr, SIZE: tl.constexpr):
    blocks = tl.reshape(x, (SIZE // {BLOCK}, {BLOCK}))
    scale = largest(tl.abs(blocks), 1)
    scale = tl.where(scale < {LEAST}, 0.0, scale)
    inverse = tl.where(scale == 0, 0.0, tl.div_rn(tl.full((), top, tl.float32), scale))
    c = tl.reshape(blocks * inverse[:, None], (SIZE,))
    if signed:
        c, few = c + 384.0, few + {1 << 22}
    else:
        c = tl.where(c + 256.0 < 257.0, 257.0, c + 256.0)
    return (c.to(tl.uint32, bitcast=True) + few) >> 15, scale
"""


def called(ops: set[str], dtypes: Iterable[str], interpreted: bool) -> list[str]:
    """The definitions of the functions that kernels with these ops call."""
    kinds = set(dtypes)
    out = [NEAREST_BITS if interpreted else NEAREST] if "bfloat16" in kinds else []
    out += [LARGEST] if "amax" in ops or kinds & CODED.keys() else []
    out += [MIX] if kinds & {*STOCHASTIC, *EXTRA} else []
    out += [CBRT.format(size=size, **kind) for size, kind in KINDS.items()] if "cbrt" in ops else []
    out += [NORMAL.format(grain=2.0**-24, turn=2 * math.pi)] if "normal" in ops else []
    return out
