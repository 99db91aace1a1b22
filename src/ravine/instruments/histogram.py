"""How many numbers of a tensor have which size: counts over powers of two, from the exponents of its floats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LOW, BINS = -48, 64  # bin i counts 2^(LOW+i) ≤ |x| < 2^(LOW+i+1); the first all that is smaller, the last all larger
SAMPLE = 4096  # numbers of each tensor that are looked at: a share of 1 % is then known to 0.16 %
EDGES = tuple(2.0 ** (LOW + i) for i in range(BINS))  # from where each bin counts


class Sampler:
    """The same evenly spaced numbers of some tensors, each time it is asked."""

    def __init__(self, shapes: Sequence[torch.Size], size: int = SAMPLE):
        self.strides = [stride(shape, size) for shape in shapes]
        self.counts = [len(range(0, shape.numel(), k)) for shape, k in zip(shapes, self.strides, strict=True)]
        self.owners: dict[tuple[int, ...], Tensor] = {}

    def take(self, tensors: Sequence[Tensor], which: Sequence[int]) -> Tensor:
        """Numbers of these tensors, which stand at the places `which` of the shapes, in a row."""
        parts = [some(x, self.strides[i]) for x, i in zip(tensors, which, strict=True)]
        home = parts[0].device
        return torch.cat([x if x.device == home else x.to(home) for x in parts])

    def owner(self, which: Sequence[int], device: torch.device) -> Tensor:
        """For each number that `take` returns the place of its tensor."""
        if (key := tuple(which)) not in self.owners:
            counts = torch.tensor([self.counts[i] for i in which])
            self.owners = {key: torch.repeat_interleave(torch.tensor(which), counts).to(device)}
        return self.owners[key]

    def count(self, x: Tensor, which: Sequence[int]) -> Tensor:
        """The log-histogram of each tensor, (len(shapes), BINS), from what `take` returned; zeros for the others."""
        exponent = (x.float().view(torch.int32) >> 23).bitwise_and_(0xFF) - 127  # ⌊log₂|x|⌋: -127 of zero, 128 of NaN
        place = exponent.sub_(LOW).clamp_(0, BINS - 1) + self.owner(which, x.device) * BINS
        return torch.bincount(place, minlength=len(self.counts) * BINS).view(-1, BINS)


def stride(shape: torch.Size, size: int) -> int:
    """The distance between the numbers that are looked at; it walks through all columns, not again through one."""
    k, row = max(1, math.ceil(shape.numel() / size)), shape[-1] if shape else 1
    while k > 1 and math.gcd(k, row) > 1:
        k += 1
    return k


def some(x: Tensor, k: int) -> Tensor:
    """Every k-th number; of complex ones the size."""
    x = x.detach().reshape(-1)[::k]
    return x.abs() if x.is_complex() else x.float()
