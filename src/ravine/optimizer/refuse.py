"""One clear error for a gradient or a state that no rule here can take, before anything moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile.block import Block
from ravine.compile.expr import FULL, HOST, VECTORS
from ravine.compile.geometry import Extent, local, placing, sizes
from ravine.compile.launch import apart, elementwise, separable
from ravine.compile.storage import BLOCK, CODED
from ravine.optimizer.state import BITS, TYPES, misfit, scale_of, shape_of
from ravine.rule.factors import check_memory, check_sides
from ravine.saved import has_memory

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.rule.rule import Rule


def check(opt: Optimizer, i: int, group: Mapping[str, Any], p: Tensor, g: Tensor) -> None:
    """One clear error for a gradient or a state that no rule here can take."""
    rule, who = opt.rule_of(group), f"{type(opt).__name__}: parameter {i} of shape {tuple(p.shape)}"
    if g.layout is not torch.strided:
        check_sparse(opt, who, group, p, g)
    elif not rule.dense:
        raise RuntimeError(
            f"{who} has a dense gradient, and {rule.__name__} takes sparse ones only; use ravine.Adam, "
            "or sparse gradients, as nn.Embedding(sparse=True) makes them"
        )
    if g.shape != p.shape:
        raise RuntimeError(f"{who} has a gradient of shape {tuple(g.shape)}")
    if g.device != p.device:
        raise RuntimeError(f"{who} is on {p.device} and its gradient on {g.device}")
    if p.dtype not in TYPES or g.dtype not in TYPES:
        raise RuntimeError(f"{who} is {p.dtype} and its gradient {g.dtype}; both must be one of {TYPES}")
    compiled = opt.compiled(group, p)
    plan = compiled.plan
    check_placing(opt, who, group, p, g)
    if getattr(p, "_fsdp_flattened", False) and (plan.draws or not separable(plan) or not apart(plan.start.values())):
        raise RuntimeError(
            f"{who} is a part of a flat parameter of FullyShardedDataParallel, and {type(opt).__name__} with these "
            "options looks at whole tensors, which FSDP1 does not show; use torch.distributed.fsdp.fully_shard"
        )
    try:
        sizes(p.shape, plan.view)
    except ValueError as error:
        raise RuntimeError(f"{who} {error}; {plan.view} is for others") from None
    if BITS in opt.state.get(p, {}) and (wrong := misfit(BITS, opt.state[p], p)):
        raise RuntimeError(f"{who}: {wrong}; delete opt.state[p]['{BITS}'], or make a new optimizer")
    for k, start in compiled.program.start.items() if opt.state.get(p) else ():
        key = rule.key(k)
        x = opt.state[p].get(key)
        if x is None or start.shape is HOST:
            continue
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{who}: its state {key} is {x!r}, not a tensor; delete opt.state[p]")
        if x.layout is not torch.strided:
            raise RuntimeError(
                f"{who}: its state {key} is sparse ({x.layout}), and states are dense; put its to_dense() "
                "there, or delete opt.state[p]"
            )
        beside, full = scale_of(key), start.shape == FULL
        if full and x.dtype in CODED.values() and (wrong := misfit(beside, opt.state[p], p)):
            raise RuntimeError(f"{who}: {wrong}; delete opt.state[p], or load a checkpoint that is whole")
        if x.device != p.device:
            raise RuntimeError(
                f"{who} is on {p.device}, its state {key} on {x.device}; call opt.to() to bring the states along"
            )
        types = x.dtype in (*TYPES, *(CODED.values() if full else ())) and x.is_complex() == (p.is_complex() and full)
        if list(x.shape) != shape_of(start, p, plan.view) or not types:
            raise RuntimeError(
                f"{who}: its state {key} is {x.dtype} of shape {tuple(x.shape)}, which does not fit. Parameters "
                "keep their shape between steps: delete opt.state[p], or make a new optimizer"
            )


def check_factors(opt: Optimizer, live: Iterable[tuple[int, Mapping[str, Any], Tensor, Tensor]]) -> None:
    """One clear error for factors that are too large, or do not fit together, before any is made."""
    needs: dict[torch.device, dict[type[Rule], int]] = {}
    first: dict[torch.device, Tensor] = {}
    for i, group, p, _ in live:
        rule, who = opt.rule_of(group), f"{type(opt).__name__}: parameter {i} of shape {tuple(p.shape)}"
        size = check_sides(who, rule, opt.compiled(group, p), p, opt.state.get(p, {}))
        if size and has_memory(p):
            own = needs.setdefault(p.device, {})
            own[rule] = own.get(rule, 0) + size
            first.setdefault(p.device, p)
    for device, own in needs.items():
        check_memory(type(opt).__name__, own, first[device])


def check_placing(opt: Optimizer, who: str, group: Mapping[str, Any], p: Tensor, g: Tensor) -> None:
    """One clear error for a distributed parameter that cannot be stepped part by part."""
    rule, plan = opt.rule_of(group), opt.compiled(group, p).plan
    try:
        here = Extent.of(p)
    except ValueError as error:
        raise RuntimeError(f"{who} {error}") from None
    if placing(g)[0] != here.mesh:
        raise RuntimeError(f"{who} is {on(p)}, and its gradient {on(g)}; give one that is distributed as it is")
    if not here.complete and isinstance(plan.view, Block) and any(map(plan.rowwise, plan.kernels)):
        raise RuntimeError(
            f"{who} is distributed, and {rule.__name__} looks at rows or columns of {plan.view}; leave the blocks out"
        )
    if not here.complete and plan.reductions and group["capturable"] and p.is_cuda:
        raise RuntimeError(
            f"{who} is distributed, and {rule.__name__} adds up over processes: leave out capturable=True"
        )
    state, full = opt.state.get(p, {}), [rule.key(k) for k, x in plan.start.items() if x.shape == FULL]
    wanted = dict.fromkeys([*full, *map(scale_of, full), BITS], here.placements)
    wanted |= {rule.key(k): here.placed(x.shape, plan.view) for k, x in plan.start.items() if x.shape in VECTORS}
    for k, placements in wanted.items():
        if not isinstance(x := state.get(k), Tensor):
            continue
        mesh, found = placing(x)
        if mesh != here.mesh or not same_parts(mesh, found, placements):
            raise RuntimeError(f"{who} is {on(p)}, its state {k} {on(x)}; redistribute() it, or delete opt.state[p]")
        if k in full and x.dtype in CODED.values() and not here.whole_blocks(BLOCK):
            raise RuntimeError(f"{who} is {on(p)}, and its state {k} is in codes of whole blocks; delete opt.state[p]")


def same_parts(mesh: Any, found: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """True where each process has the same part by both; along an axis of one process that is all, however placed."""
    return len(found) == len(wanted) and all(
        x == y or mesh.size(axis) == 1 for axis, (x, y) in enumerate(zip(found, wanted, strict=True))
    )


def on(x: Tensor) -> str:
    """How a tensor is distributed, in words."""
    mesh, placements = placing(x)
    return "not distributed" if mesh is None else f"placed by {', '.join(map(repr, placements))} on {mesh}"


def check_sparse(opt: Optimizer, who: str, group: Mapping[str, Any], p: Tensor, g: Tensor) -> None:
    """One clear error for a sparse gradient that this rule cannot take row by row."""
    rule = opt.rule_of(group)
    if not rule.sparse or g.layout is not torch.sparse_coo:
        raise RuntimeError(
            f"{who} has a sparse gradient ({g.layout}); SGD, Adagrad, Adam, AdamW and SparseAdam take these, in "
            "torch.sparse_coo. Use one of them, or a dense gradient, as nn.Embedding(sparse=False) makes it"
        )
    if group["nonfinite"] != "ignore" or group["measured"]:
        option = "measured=True" if group["measured"] else f"nonfinite={group['nonfinite']!r}"
        raise RuntimeError(f"{who} has a sparse gradient, and {option} sums over whole ones; leave it out")
    if group["capturable"] and p.is_cuda:
        raise RuntimeError(f"{who} has a sparse gradient, whose rows the host counts; leave out capturable=True")
    if not elementwise(opt.compiled(group, p).plan):
        worn = f" with mods {[type(mod).__name__ for mod in group['mods']]}" if group["mods"] else ""
        raise RuntimeError(
            f"{who} has a sparse gradient, and {rule.__name__}{worn} needs the whole tensor: it sums over it, knows "
            "its size or adds noise. Use a dense gradient, as nn.Embedding(sparse=False) makes it"
        )
    if group["storage"] == "int8":
        raise RuntimeError(f'{who} has a sparse gradient, and storage="int8" keeps whole blocks; use storage="bf16"')
    if local(p) is not p:
        raise RuntimeError(f"{who} is distributed and has a sparse gradient; use a dense one")
