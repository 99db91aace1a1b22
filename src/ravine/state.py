"""How a state begins, and how it lies in memory: its key, its shape, its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.emit.reference import evaluate, extent
from ravine.compile.expr import COL, FULL, HOST, ROW, SCALAR, VECTORS, Expr
from ravine.compile.launch.base import real
from ravine.compile.trace import number_of

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128)


def keys_of(opt: Optimizer, compiled: Compiled) -> dict[str, str]:
    """The rule's names of the states of tensors -> their keys in opt.state[p]."""
    return {k: opt.key(k) for k, x in compiled.program.start.items() if x.shape is not HOST}


def numbers_of(compiled: Compiled) -> list[str]:
    """The keys of the numbers that the host keeps."""
    return [k for k, x in compiled.program.start.items() if x.shape is HOST]


def begin(opt: Optimizer, compiled: Compiled, group: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
    """The state of p with what is missing in it: at the first step all, later what a changed flag brings."""
    state, start = dict(opt.state.get(p, {})), compiled.program.start
    missing = {k: x for k, x in start.items() if state.get(opt.key(k)) is None}
    if missing:
        view = compiled.plan.view
        values = evaluate(missing.values(), lambda x: leaf_value(x, group, p, view), real(p.detach()), view=view)
        for k, x in missing.items():
            state[opt.key(k)] = as_state(values[x], x, group, p, view)
    # a state that came without a count has been stepped: only the first step of some rules is special
    state.setdefault("step", torch.tensor(float(bool(state) and len(missing) != len(start)), device="cpu"))
    return state


def leaf_value(x: Expr, group: Mapping[str, Any], p: Tensor, view: str) -> Tensor:
    """What init() may read: the parameter and hyperparameters."""
    if x.op == "p":
        return real(p.detach()).reshape(extent(real(p), FULL, view))
    return torch.tensor(float(number_of(group, str(x.arg))), dtype=torch.float64, device="cpu")


def as_state(value: Tensor, x: Expr, group: Mapping[str, Any], p: Tensor, view: str) -> Tensor:
    """A state as it lies in memory: like the parameter where it has its shape, in its type or in float32."""
    if x.shape is HOST:
        return value.double()
    dtype = type_of(x, group, p)
    if x.shape == FULL:
        out = torch.empty_like(p, dtype=dtype, requires_grad=False)
        real(out).copy_(value.reshape(real(out).shape))
        return out
    value = value.reshape(shape_of(x, p, view))
    return value.to(dtype=torch.empty(0, dtype=dtype).real.dtype, device=p.device, copy=True)


def type_of(x: Expr, group: Mapping[str, Any], p: Tensor) -> torch.dtype:
    """The type of a state: the parameter's, or float32 where numbers of 16 bits are few enough or not wanted."""
    wide = group["storage"] == "float32" or x.shape in (SCALAR, *VECTORS)
    return torch.float32 if wide and p.dtype in (torch.bfloat16, torch.float16) else p.dtype


def shape_of(x: Expr, p: Tensor, view: str) -> list[int]:
    """The shape of a state in memory; one of rows, columns or matrices has the parameter's, 1 for what is summed."""
    if x.shape == FULL:
        return list(p.shape)
    if x.shape not in VECTORS:
        return extent(real(p), x.shape, view)
    if p.dim() < 2:
        return [p.numel() if x.shape == ROW else 1]
    cut = 1 if view == "first" else p.dim() - 1
    head, rows, cols = p.shape[: cut - 1], p.shape[cut - 1], p.shape[cut:]
    return [*head, rows if x.shape == ROW else 1, *(cols if x.shape == COL else [1] * len(cols))]
