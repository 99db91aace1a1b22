"""The memory of tensors: whether all elements of one lie in it, and which tensors share some."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor

PLAIN = (Tensor, torch.nn.Parameter)  # another class may have gradients of its own making


LARGE = 1 << 20  # bytes


def lends(device: torch.device) -> bool:
    """True where what passes between matrix work and kernels has memory within a step only, for activations to have
    in the next: on GPUs, whose allocator has it at hand. On a CPU all pages would be made anew."""
    return device.type == "cuda"


def low(x: Tensor) -> int:
    """The offset of a tensor in its storage, in bytes. An address not above it means that the memory was freed."""
    return int(x.storage_offset()) * x.element_size() if x.numel() else -1


def lacks(x: Tensor) -> bool:
    """True if not all elements lie in memory: it was freed, or made smaller. One of efficient zeros needs none."""
    if not x.numel() or x.is_meta or x._is_zerotensor():
        return False
    last = x.storage_offset() + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    return x.data_ptr() <= low(x) or (last + 1) * x.element_size() > x.untyped_storage().nbytes()


def layers(tensors: Sequence[Tensor]) -> list[int]:
    """For each tensor 0, or one more than the highest layer of those before it that it shares an element with.

    Tensors of one layer can be written in any order, at the same time; torch's loop over parameters writes an
    overlapping one after those before it, and so do layers in their order.
    """
    out = [0] * len(tensors)
    shared: dict[int, list[int]] = {}
    for i, x in enumerate(tensors):
        if x.numel():
            shared.setdefault(x.data_ptr() - low(x), []).append(i)
    for places in shared.values():
        for cluster in touching(tensors, places):
            unit = gcd(*(tensors[i].element_size() for i in cluster))
            count = max(tensors[i].untyped_storage().nbytes() for i in cluster) // unit
            painted = torch.full((count,), -1, dtype=torch.int32, device="cpu")  # the layer of each element so far
            for i in cluster:
                x, k = tensors[i], tensors[i].element_size() // unit
                stride = [n * k for n in x.stride()]
                part = painted.as_strided((*x.shape, k), (*stride, 1), x.storage_offset() * k)
                out[i] = int(part.max()) + 1
                part.fill_(out[i])
    return out


def repeats(x: Tensor) -> bool:
    """True if several elements are one number in memory, as after expand()."""
    return any(step == 0 and n > 1 for n, step in zip(x.shape, x.stride(), strict=True)) and x.numel() > 0


def touching(tensors: Sequence[Tensor], places: Sequence[int]) -> list[list[int]]:
    """Groups of two or more of these tensors of one storage whose stretches of memory meet, in order."""
    ends = dict[int, tuple[int, int]]()
    for i in places:
        x = tensors[i]
        last = sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
        ends[i] = low(x), low(x) + (last + 1) * x.element_size()
    groups, reached = list[list[int]](), -1
    for i in sorted(places, key=ends.__getitem__):
        if ends[i][0] >= reached:
            groups.append([])
        groups[-1].append(i)
        reached = max(reached, ends[i][1])
    return [sorted(group) for group in groups if len(group) > 1]
