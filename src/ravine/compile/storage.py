"""How an array lies in memory: its kind, and the codes of compressed states.

    float32, float64, float16, bfloat16    as torch has them; a store rounds to the nearest
    bfloat16~       bfloat16 with stochastic rounding: the mean of many roundings is the number itself
    bfloat16+8      the upper 16 bits of a float32; the next 8 are in another array, the rest is rounded stochastically
    bfloat16+16     the upper 16 bits of a float32; the lower 16 lie in another array
    linear8         x = scale c / 127 with c = −127 … 127, and a scale for each block of 256 numbers: its largest |x|
    root8           x = (scale c / 255)² with c = 1 … 255, for numbers that are never negative: the code of the root

A linear code of Adam's v makes most of a block zero and the step infinite; the code of the root does not, and is never
0 except where the scale is. Codes use stochastic rounding too: otherwise a slow average, which moves by less than half
a code in a step, would stand still. The random bits are a pure function of seed, step, the parameter's position and the
element's index in it, the same on every backend: 16 bits of `words`. (Without blocks the elements of a channels_last
parameter are counted in the order of memory; the reference counts them in that of dimensions.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

BLOCK = 256  # numbers that share a scale
CODED = {"linear8": torch.int8, "root8": torch.uint8}  # the kinds that are read and written block by block
LARGEST = {"linear8": 127.0, "root8": 255.0}
TOP = {kind: c * (1 - 2.0**-20) for kind, c in LARGEST.items()}  # so that no rounding of 1 / scale leads beyond
EXTRA = {"bfloat16+8": "int8", "bfloat16+16": "int16"}  # the type of the bits that lie elsewhere
BELOW = {"int8": 8, "int16": 0}  # how many of a float's bits lie below these
STOCHASTIC = ("bfloat16~", "bfloat16+8", "linear8", "root8")  # the kinds whose rounding is random
WIDTH = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int16": 2, "int8": 1, "linear8": 1, "root8": 1}
LEAST = 2.0**-120  # a block whose scale is smaller is written as zeros: 1 / scale must be finite


def table(kinds: Mapping[str, str]) -> dict[str, str]:
    """The kinds of all arrays in table order, each followed by what belongs to it."""
    out: dict[str, str] = {}
    for name, kind in kinds.items():
        out[name] = kind
        if part := beside(name, kind):
            out[part] = "float32" if kind in CODED else EXTRA[kind]
    return out


def beside(name: str, kind: str) -> str | None:
    """The name of the array of scales or of further bits that belongs to an array, if there is one."""
    return f"{name}.scale" if kind in CODED else f"{name}.bits" if kind in EXTRA else None


def width(kind: str) -> float:
    """Bytes for each element, with what belongs to it."""
    if kind in CODED:
        return 1 + 4 / BLOCK
    return WIDTH[kind.rstrip("~").partition("+")[0]] + (WIDTH[EXTRA[kind]] if kind in EXTRA else 0)


def drawn(kinds: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """{array: (draw, half)} of the arrays with stochastic rounding: where each has its 16 random bits."""
    random = [name for name, kind in kinds.items() if kind in STOCHASTIC]
    return {name: divmod(i, 2) for i, name in enumerate(random)}


# random bits, as torch computes them: the emitters write the same

WORD = 0xFFFFFFFF
FIRST, SECOND = 0x7FEB352D, 0x846CA68B  # of the finalizer that keys a tensor (Wellons 2018, lowbias32)
STRIDE, THIRD = 0x9E3779B9, 0x2C1B3C6D  # of the cheaper one, for each element


def mix(x: int) -> int:
    """A 32-bit number in which every bit depends on every bit of x."""
    x = (x ^ (x >> 16)) * FIRST & WORD
    x = (x ^ (x >> 15)) * SECOND & WORD
    return x ^ (x >> 16)


def key(seed: int, t: int, index: int, draw: int) -> int:
    """The key of the random bits of one tensor in one step."""
    return mix(mix(mix(seed + draw * STRIDE & WORD) + (t & WORD) & WORD) + (index & WORD) & WORD)


def words(i: Tensor, key: int) -> Tensor:
    """32 random bits for each of the elements with these indices, in int64."""
    x = ((i & WORD) * STRIDE + key) & WORD
    x = (x ^ (x >> 15)) * THIRD & WORD
    return x ^ (x >> 16)


def half(words: Tensor, which: int) -> Tensor:
    """16 of the 32 bits."""
    return words >> 16 if which else words & 0xFFFF


# the codes


def encode(x: Tensor, kind: str, random: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Codes (flat) and scales of the numbers x; `random` is 16 bits for each; None rounds to nearest."""
    n, root = x.numel(), kind == "root8"
    blocks = torch.nn.functional.pad(x.flatten().float(), (0, -n % BLOCK)).view(-1, BLOCK)
    blocks = blocks.sqrt() if root else blocks
    scale = blocks.abs().amax(1) if len(blocks) else blocks.new_zeros(0)
    scale = torch.where(scale < LEAST, 0.0, scale)
    inverse = torch.where(scale == 0, 0.0, TOP[kind] / scale)[:, None]
    c = (blocks * inverse).flatten()[:n]
    c = c.round() if random is None else (c + (random.to(c.device) >> 1) * 2.0**-15).floor()
    return c.clamp(min=1 if root else -127).nan_to_num(0).to(CODED[kind]), scale


def decode(codes: Tensor, scale: Tensor) -> Tensor:
    """The numbers in float32, in the shape of the codes."""
    root = codes.dtype == torch.uint8
    step = (scale / LARGEST["root8" if root else "linear8"]).repeat_interleave(BLOCK)[: codes.numel()]
    x = codes.flatten().float() * step
    return (x * x if root else x).view(codes.shape)


def round_stochastically(x: Tensor, random: Tensor) -> Tensor:
    """Float32 numbers as bfloat16 by stochastic rounding, with 16 random bits for each."""
    bits = x.float().flatten().view(torch.int32).to(torch.int64)
    word = ((bits + random.to(bits.device)) >> 16).to(torch.int16).view(torch.bfloat16)
    return torch.where(x.flatten().isnan(), x.flatten().to(torch.bfloat16), word).view(x.shape)


def join(p: Tensor, bits: Tensor) -> Tensor:
    """The float32 numbers whose upper halves are p and whose next 8 or 16 bits are `bits`. A zero, which has none
    by itself, and what is not finite stay what they are, whatever bits a weight of before has left there."""
    upper = p.contiguous().view(torch.int16).to(torch.int32) << 16
    low = bits.to(torch.int32) << (8 if bits.dtype == torch.int8 else 0)
    return torch.where(p.isfinite() & (p != 0), (upper + low).view(torch.float32), p.float())


def split(x: Tensor, kind: str, random: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The nearest bfloat16 numbers, and what is left of float32 in 8 or 16 bits; of the rest, 8 random bits decide."""
    bits = x.float().contiguous().view(torch.int32).to(torch.int64)
    if kind == "bfloat16+8":
        few = 0 if random is None else random.view(x.shape).to(bits.device) >> 8
        bits = ((bits + few) >> 8) << 8
    upper = (bits + 0x8000) >> 16
    low = (bits - (upper << 16)) >> (8 if kind == "bfloat16+8" else 0)
    p = torch.where(x.isnan(), x.to(torch.bfloat16), upper.to(torch.int16).view(torch.bfloat16))
    return p, torch.where(x.isnan(), 0, low).to(getattr(torch, EXTRA[kind]))


def recut(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Further bits in another number of them: 8 of 16, the rest to the nearest, or 16 of 8."""
    if bits.dtype == dtype:
        return bits
    wide = bits.to(torch.int32)
    return (((wide + 128) >> 8).clamp(max=127) if dtype == torch.int8 else wide << 8).to(dtype)
