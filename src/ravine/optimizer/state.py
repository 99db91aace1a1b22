"""How a state begins, and how it lies in memory: its key, its shape, its type."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily

from ravine.compile import Compiled
from ravine.compile.block import View
from ravine.compile.expr import COL, FULL, HOST, ROW, VECTORS, Expr, is_matrix
from ravine.compile.geometry import Extent, extent, gathered, local, real, stacked
from ravine.compile.interpret import evaluate
from ravine.compile.launch import apart
from ravine.compile.path import number_of
from ravine.compile.storage import BLOCK, CODED, decode, encode, join, recut, split
from ravine.saved import has_memory

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.rule.rule import Rule

SMALL = 4096  # a tensor with fewer numbers keeps them in float32: as bitsandbytes does
SUMS = "sums"  # the key in the first group of the last step's sums over all gradients, of a released optimizer
BITS = "master"  # the key of the bits that bfloat16 parameters have beside them
TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128)


def movable(p: Tensor) -> bool:
    """True for parameters that may get a gradient: not for integers and booleans, such as quantized weights."""
    return p.dtype in TYPES


def keys_of(rule: type[Rule], compiled: Compiled, state: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of the arrays of a state, the rule's and those beside them -> their keys in opt.state[p]."""
    keys = {k: rule.key(k) for k, x in compiled.program.start.items() if x.shape is not HOST}
    coded = {f"{k}.scale": scale_of(key) for k, key in keys.items() if state[key].dtype in CODED.values()}
    return keys | coded | ({"p.bits": BITS} if BITS in state else {})


def numbers_of(compiled: Compiled) -> list[str]:
    """The keys of the numbers that the host keeps."""
    return [k for k, x in compiled.program.start.items() if x.shape is HOST]


def begins_only(opt: torch.optim.Optimizer) -> bool:
    """True for a new optimizer whose rates and gradients are zero: so torch.distributed.checkpoint makes a step, with
    neither loss nor closure, for states to load into."""
    if opt.state or any(group.get("lr", 1.0) for group in opt.param_groups):
        return False
    return all(is_zero(local(p.grad)) for group in opt.param_groups for p in group["params"] if p.grad is not None)


def is_zero(g: Tensor) -> bool:
    """True for a gradient of zeros, and where tensors have no numbers at all."""
    return g.is_meta or isinstance(g, FakeTensor) or (has_memory(g) and not g.count_nonzero())


def begin(opt: Optimizer, compiled: Compiled, group: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
    """The state of p with what is missing in it: at the first step all, later what a changed flag brings."""
    state, start, rule = dict(opt.state.get(p, {})), compiled.program.start, opt.rule_of(group)
    own = {k: x for k, x in start.items() if x.arg != "input"}  # others are given, and are there already
    missing = {k: x for k, x in own.items() if state.get(rule.key(k)) is None}
    if missing:
        view, here = compiled.plan.view, Extent.of(p)
        # a sum over a tensor of which there is but a part, and what follows from its sizes, is made of the whole one
        parted = not here.complete and (any(map(is_matrix, missing.values())) or not apart(missing.values()))
        weight = real(gathered(p.detach()) if parted else p.detach())
        seen = view if parted else here.seen(view)
        leaves = partial(leaf_value, group=group, p=weight, view=seen)
        for sort in ("elements", "matrices", "host"):
            made = {k: x for k, x in missing.items() if sort_of(x) == sort}
            read = stacked(leaves, weight, seen) if sort == "matrices" else leaves
            # the host counts also where tensors are fake
            with unset_fake_temporarily() if sort == "host" else nullcontext():
                values = evaluate(made.values(), read, weight, view=seen)
                for k, x in made.items():
                    value = here.part(values[x], x.shape, view) if parted else values[x]
                    state |= as_state(rule.key(k), value, x, group, p, view)
    state = stored(rule, compiled, group, p, state, other=group["storage"] in ("bf16", "int8"))
    bits = bits_of(group, p)
    if bits and BITS not in state:
        state[BITS] = torch.zeros_like(p, dtype=bits, requires_grad=False)
    # a state that came without a count has been stepped: only the first step of some rules is special
    began = float(bool(state) and len(missing) != len(own))
    state.setdefault("step", torch.tensor(began, dtype=torch.float64, device="cpu"))
    return state


def sort_of(x: Expr) -> str:
    """Whether a state is a number of the host, a matrix, or lies beside elements."""
    return "host" if x.shape is HOST else "matrices" if is_matrix(x) else "elements"


def move(opt: Optimizer, device: torch.device | str | None) -> None:
    """Move every state to a device, or beside its parameter; numbers of the host stay where they are."""
    for group in opt.param_groups:
        for p in group["params"]:
            state = opt.state.get(p, {})
            stays = {"step", *numbers_of(opt.compiled(group, p))} if state else set[str]()
            to = p.device if device is None else device
            state.update({k: x.to(to) for k, x in state.items() if isinstance(x, Tensor) and k not in stays})


def leaf_value(x: Expr, group: Mapping[str, Any], p: Tensor, view: View) -> Tensor:
    """What init() may read: the parameter and hyperparameters."""
    if x.op == "p":
        return p.reshape(extent(p, FULL, view))
    return torch.tensor(float(number_of(group, str(x.arg))), dtype=torch.float64, device="cpu")


def as_state(key: str, value: Tensor, x: Expr, group: Mapping[str, Any], p: Tensor, view: View) -> dict[str, Tensor]:
    """A state as it lies in memory, and what belongs to it: like the parameter where it has its shape."""
    if x.shape is HOST:
        return {key: value.double()}
    dtype = type_of(x, group, p)
    if x.shape == FULL:
        out = torch.empty_like(p, dtype=dtype, requires_grad=False)
        if dtype not in CODED.values():
            real(out).copy_(value.reshape(real(out).shape))
            return {key: out}
        kind = "root8" if dtype == torch.uint8 else "linear8"
        if x.op == "fill" and value.numel() and value.stride() == (0,) * value.dim():  # one number for all
            codes, scale = (part[:1] for part in encode(value.flatten()[:1], kind))
            codes, scale = codes.expand(value.numel()), scale.repeat(-(-value.numel() // BLOCK))
        else:
            codes, scale = encode(value, kind)
        local(out).copy_(codes.view(local(out).shape))
        return {key: out, scale_of(key): Extent.of(p).like(scale, [-(-p.numel() // BLOCK)])}
    value = value.reshape(shape_of(x, local(p) if x.shape in VECTORS else p, view))
    value = value.to(dtype=torch.empty(0, dtype=dtype).real.dtype, device=p.device, copy=True)
    if x.shape not in VECTORS or local(p) is p:
        return {key: value}
    here = Extent.of(p)
    return {key: here.like(value, shape_of(x, p, view), here.placed(x.shape, view))}


def as_numbers(state: Mapping[str, Tensor], key: str) -> Tensor:
    """What a state stands for, in its type or in float32."""
    x = state[key]
    if scale_of(key) not in state:
        return x
    return Extent.of(x).like(decode(local(x), local(state[scale_of(key)])), x.shape)


def weight_of(p: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """A weight with the bits that it has beside it, if it has any."""
    return join(local(p.detach()), local(state[BITS])) if BITS in state else p


def set_weight(p: Tensor, state: Mapping[str, Tensor], x: Tensor) -> None:
    """Set a weight, and the bits that it has beside it, if it has any."""
    if (bits := state.get(BITS)) is None:
        p.copy_(x)
    else:
        upper, low = split(local(x), "bfloat16+8" if bits.dtype == torch.int8 else "bfloat16+16")
        local(p).copy_(upper)
        local(bits).copy_(low)


def stored(
    rule: type[Rule], compiled: Compiled, group: Mapping[str, Any], p: Tensor, state: dict[str, Tensor], other: bool
) -> dict[str, Tensor]:
    """A state in the storage of its group. `other`: it is in another, of which one compresses; else every value that is
    no code keeps its type, and every bit."""
    for k, x in compiled.program.start.items():
        key = rule.key(k)
        kept = state.get(key)
        if kept is None or not (x.shape == FULL or x.arg == "average") or kept.dtype == type_of(x, group, p):
            continue
        if other or scale_of(key) in state:
            value = real(as_numbers(state, key))
            state.pop(scale_of(key), None)
            state |= as_state(key, value, x, group, p, compiled.plan.view)
    bits = bits_of(group, p)
    if BITS in state:
        kept = state.pop(BITS)
        state |= {} if bits is None else {BITS: recut(kept, bits)}
    return state


def misfit(key: str, state: Mapping[str, Any], p: Tensor) -> str:
    """What is wrong with what belongs to a state or to the weights; nothing is an empty text."""
    x = state.get(key)
    if key == BITS:
        fits = isinstance(x, Tensor) and x.dtype in (torch.int8, torch.int16) and x.shape == p.shape
        wanted = f"must be int8 or int16 of shape {tuple(p.shape)}"
    else:
        blocks = (-(-p.numel() // BLOCK),)
        fits = isinstance(x, Tensor) and x.dtype == torch.float32 and x.shape == blocks
        wanted = f"must be float32 of shape {blocks}"
    given = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)
    return "" if fits else f"{key} is {given} and {wanted}".replace("torch.", "")


def widened(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state with what is compressed in it as float32."""
    scales = {scale_of(k) for k in state if scale_of(k) in state}
    wide = {k: as_numbers(state, k) for k in state if k not in scales and isinstance(state[k], Tensor)}
    wide = {k: x.float() if x.dtype == torch.bfloat16 else x for k, x in wide.items()}
    return {k: wide.get(k, x) for k, x in state.items() if k not in scales}


def bits_of(group: Mapping[str, Any], p: Tensor) -> torch.dtype | None:
    """The type of the bits that a parameter has beside it, if it has any."""
    bits = group["master_bits"] if p.dtype == torch.bfloat16 else None
    return {8: torch.int8, 16: torch.int16}.get(bits or 0)


def scale_of(key: str) -> str:
    """The key of the scales of a state that is kept in codes."""
    return f"{key}_scale"


def type_of(x: Expr, group: Mapping[str, Any], p: Tensor) -> torch.dtype:
    """The type of a state: the parameter's, or what `storage` says. Statistics of tensors, rows and columns are few
    and stay in float32 at least, and factors, whose roots need it, but for averages of a low rank in bf16; so do
    inputs, and states that begin as the weights and are weights."""
    storage = group["storage"]
    if x.arg == "input":
        return torch.promote_types(p.dtype, torch.float32)
    if storage == "bf16" and x.op == "fill" and (x.shape == FULL or x.arg == "average"):
        return torch.bfloat16
    if x.shape == FULL and x.op == "fill" and storage == "int8" and has_blocks(p):
        return CODED["root8" if x.arg is True else "linear8"]
    wide = storage is not None or x.shape != FULL
    return torch.float32 if wide and p.dtype in (torch.bfloat16, torch.float16) else p.dtype


def has_blocks(p: Tensor) -> bool:
    """True if codes are worth their scales, and every shard of a distributed parameter holds whole blocks."""
    return p.numel() >= SMALL and Extent.of(p).whole_blocks(BLOCK)


def shape_of(x: Expr, p: Tensor, view: View) -> list[int]:
    """The shape of a state in memory; one of rows, columns or matrices has the parameter's, 1 for what is summed."""
    if x.shape == FULL:
        return list(p.shape)
    if x.shape not in VECTORS or not (isinstance(view, str) or p.dim() < 2):
        return extent(real(p) if local(p) is p else p, x.shape, view)
    if p.dim() < 2:
        return [p.numel() if x.shape == ROW else 1]
    cut = 1 if view == "first" else p.dim() - 1
    head, rows, cols = p.shape[: cut - 1], p.shape[cut - 1], p.shape[cut:]
    return [*head, rows if x.shape == ROW else 1, *(cols if x.shape == COL else [1] * len(cols))]
