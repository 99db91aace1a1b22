"""Arrays of torch and numpy, and trees of them: dicts, lists and tuples, nested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.saved import told


def as_tensor(x: Any, what: str) -> Tensor:
    """A copy of an array as a tensor."""
    try:
        made = torch.as_tensor(x.copy()) if is_numpy(x) else x.detach().clone() if isinstance(x, Tensor) else None
    except (TypeError, ValueError) as error:
        raise TypeError(f"functional: {what} is {told(x)}: {error}") from error
    if made is None or not (made.is_floating_point() or made.is_complex()) or made.layout is not torch.strided:
        raise TypeError(f"functional: {what} is {told(x)}; it must be a dense tensor or numpy array of floats")
    return made


def is_numpy(x: object) -> bool:
    """True for an array or a number of numpy, which is not imported for this."""
    return type(x).__module__ == "numpy"


def like(x: Tensor, old: object) -> Any:
    """A tensor as the kind that `old` is."""
    return x.numpy() if is_numpy(old) else x


def flat(tree: Any) -> Iterator[Any]:
    """The arrays of a tree, in order; an array is a tree too."""
    if isinstance(tree, Mapping | list | tuple):
        for x in tree.values() if isinstance(tree, Mapping) else tree:
            yield from flat(x)
    else:
        yield tree


def rebuilt(tree: Any, leaves: Iterator[Any]) -> Any:
    """A tree of this form with other leaves."""
    if isinstance(tree, Mapping):
        return {k: rebuilt(x, leaves) for k, x in tree.items()}
    if isinstance(tree, list | tuple):
        made = [rebuilt(x, leaves) for x in tree]
        return made if isinstance(tree, list) else tuple(made)
    return next(leaves)


def parts(tree: Any, other: Any, what: str) -> Iterator[Any]:
    """What stands in another tree where this one has its leaves, in the order of this one."""
    if isinstance(tree, Mapping):
        if not isinstance(other, Mapping) or other.keys() != tree.keys():
            raise ValueError(f"functional: p is {form(tree)} where {what} is {form(other)}")
        for k, x in tree.items():
            yield from parts(x, other[k], what)
    elif isinstance(tree, list | tuple):
        if not isinstance(other, list | tuple) or len(other) != len(tree):
            raise ValueError(f"functional: p is {form(tree)} where {what} is {form(other)}")
        for x, y in zip(tree, other, strict=True):
            yield from parts(x, y, what)
    else:
        yield other


def form(x: Any) -> str:
    """A node of a tree in words."""
    if isinstance(x, Mapping):
        return f"a dict of {', '.join(map(str, x)) or 'nothing'}"
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, list | tuple) else told(x)
