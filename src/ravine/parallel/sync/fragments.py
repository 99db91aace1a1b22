"""Fragments of a model: which tensors are exchanged together, and after which step."""

from __future__ import annotations

from collections.abc import Sequence


def balanced(sizes: Sequence[int], parts: int) -> list[int]:
    """The part of each tensor, so that parts have about as many numbers: the largest first, each to the part that has
    the least. The same on every worker, since sizes and places alone decide.

    >>> balanced([10, 3, 8, 4], 2)
    [0, 0, 1, 1]
    """
    loads, tensors, out = [0] * parts, [0] * parts, [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        part = min(range(parts), key=lambda k: (loads[k], tensors[k], k))
        out[i] = part
        loads[part] += sizes[i]
        tensors[part] += 1
    return out


def offsets(every: int, parts: int) -> list[int]:
    """After which step of a cycle each part is sent; spread evenly, and the last at its end.

    >>> offsets(10, 1), offsets(10, 4)
    ([10], [2, 5, 7, 10])
    """
    return [every * (k + 1) // parts for k in range(parts)]
