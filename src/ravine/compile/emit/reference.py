"""The obviously right backend: the graph, node by node, in torch. The law that the others are tested against."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from ravine.compile.expr import FULL, Expr, walk

OPS: dict[str, Callable[..., Any]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "neg": torch.neg,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "max": lambda *a: torch.maximum(*common(a)),
    "min": lambda *a: torch.minimum(*common(a)),
    "gt": torch.gt,
    "ge": torch.ge,
    "matmul": torch.matmul,
    "transpose": torch.t,
}


def evaluate(
    roots: Iterable[Expr],
    read: Callable[[Expr], Tensor],
    p: Tensor,
    known: Mapping[Expr, Tensor] | None = None,
) -> dict[Expr, Tensor]:
    """The values of `roots` for the parameter p; `read` gives p, g, t, states and hyperparameters.

    Numbers of the host and of the tensor are of the `wide` type, elements of the type that `read` gives them.
    """
    value, number = dict(known or {}), wide(p.device)
    for x in walk(roots, value):
        if x in value:
            continue
        a = [value[s] for s in x.src]
        match x.op:
            case "const":
                value[x] = torch.tensor(x.arg, dtype=number)
            case "size":
                value[x] = torch.tensor(float(size(p, x.arg)), dtype=number)
            case "eye":
                value[x] = torch.eye(size(p, x.arg), dtype=p.dtype, device=p.device)
            case "fill":
                value[x] = fill(x, a[0], p)
            case "sum":
                value[x] = torch.sum(a[0], dtype=number)
            case "where":
                value[x] = torch.where(a[0].bool().to(p.device), *common(a[1:]))
            case "call":
                fn, options = cast(tuple[Callable[..., Tensor], tuple[tuple[str, Any], ...]], x.arg)
                value[x] = fn(a[0].clone(), **dict(options))  # it may write into what it is given
            case op if op in OPS:
                value[x] = OPS[op](*a)
            case _:
                value[x] = read(x)
    return value


def wide(device: torch.device) -> torch.dtype:
    """The type of numbers beside tensors of this device: float64, or float32 where the device has no other."""
    return torch.float32 if device.type == "mps" else torch.float64


def fill(x: Expr, value: Tensor, p: Tensor) -> Tensor:
    """A state at its beginning."""
    if x.shape is None:
        return value
    if x.shape == FULL:
        return torch.empty_like(p).fill_(value)
    return torch.full([size(p, letter) for letter in x.shape], float(value), dtype=p.dtype, device=p.device)


def size(p: Tensor, letter: object) -> int:
    """r: the first size; c: all others, multiplied."""
    r = p.shape[0] if p.dim() else 1
    return r if letter == "r" else p.shape[1:].numel() if p.dim() else 1


def common(a: Sequence[Tensor]) -> Sequence[Tensor]:
    """torch.maximum and torch.where take one device and type: a number becomes an array of the other's."""
    like = max(a, key=lambda x: x.dim())
    return [x.to(like) for x in a] if like.dim() else a
