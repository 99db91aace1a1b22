"""Rows: a tensor, or a tuple or dict of rows with the same first dimension. What a model takes, and its targets."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

Rows = Any  # Tensor | tuple[Rows, ...] | dict[str, Rows]; None for targets where there are none


def take(x: Rows, index: Tensor) -> Rows:
    """The rows of these numbers, which are on the same device."""
    if isinstance(x, Tensor):
        return x.index_select(0, index)
    return None if x is None else mapped(lambda part: take(part, index), x)


def device_of(x: Rows) -> torch.device:
    """Where they are."""
    return next(leaves(x))[1].device


def count(x: Rows) -> int:
    """How many rows there are."""
    return len(next(leaves(x))[1])


def moved(x: Rows, device: Any) -> Rows:
    """The same on a device."""
    return None if x is None else mapped(lambda part: part.to(device), x)


def leaves(x: Rows, name: str = "x") -> Iterator[tuple[str, Any]]:
    """All tensors, each with how it is reached."""
    if isinstance(x, dict):
        for key, part in x.items():
            yield from leaves(part, f"{name}[{key!r}]")
    elif isinstance(x, tuple):
        for i, part in enumerate(x):
            yield from leaves(part, f"{name}[{i}]")
    elif x is not None:
        yield name, x


def called(model: nn.Module, x: Rows) -> Any:
    """What a model says of rows: a tuple are its arguments, and a dict are those by name."""
    if isinstance(x, dict):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def measured(function: Callable[..., Any], output: Any, target: Rows) -> Any:
    """What a loss or a metric says; it is given the output alone where there are no targets."""
    return function(output) if target is None else function(output, target)


def mapped(function: Callable[..., Any], *trees: Any) -> Any:
    """A function of what stands at the same place of several trees, at each place: of rows, and of outputs, which may
    also be lists, named tuples, dataclasses and namespaces."""
    first = trees[0]
    if isinstance(first, dict):
        made = {key: mapped(function, *(tree[key] for tree in trees)) for key in first}
        return made if type(first) is dict else type(first)(**made)
    if isinstance(first, tuple | list):
        inside = [mapped(function, *parts) for parts in zip(*trees, strict=True)]
        return type(first)(*inside) if hasattr(first, "_fields") else type(first)(inside)
    if is_dataclass(first) or isinstance(first, SimpleNamespace):
        made = copy(first)
        vars(made).update({key: mapped(function, *(vars(tree)[key] for tree in trees)) for key in vars(first)})
        return made
    return function(*trees)


def joined(parts: list[Any], sizes: list[int]) -> Any:
    """The outputs for several parts of the rows as if of one: rows follow each other, and of a number that is a mean
    over the rows of its part, such as a loss, the mean over all is taken."""

    def together(*each: Any) -> Any:
        if not isinstance(each[0], Tensor):
            return each[0]
        if each[0].ndim:
            return torch.cat(each)
        return sum(n * x for n, x in zip(sizes, each, strict=True)) / sum(sizes)

    return parts[0] if len(parts) == 1 else mapped(together, *parts)
