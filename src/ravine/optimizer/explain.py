"""What an optimizer would do, in words a person can check: `opt.explain()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.call import Call
from ravine.compile.emit import host, text
from ravine.compile.emit import llvm as llvm_emitter
from ravine.compile.expr import FULL, HOST
from ravine.compile.launch import backend_for
from ravine.compile.launch.base import kinds_of
from ravine.compile.plan import Matrix, Plan, Reduce, Sweep
from ravine.compile.storage import width
from ravine.optimizer.state import movable, type_of

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


def explain(opt: Optimizer, code: bool = False) -> str:
    """Equations, plan and bytes of each program that the optimizer's groups need, with `code` host code and source."""
    programs = dict.fromkeys(
        (compiled, p.dtype, p.device, tuple(types_of(opt, compiled, group, p).items()))
        for group in opt.param_groups
        for p in filter(movable, group["params"])
        for compiled in [opt.compiled(group, p)]
    )
    pages: list[str] = []
    for compiled, dtype, device, found in programs:
        plan, kind, types = compiled.plan, str(dtype).removeprefix("torch."), dict(found)
        backend = opt.backend or backend_for(device)
        parts = [
            f"{compiled.program.name} on {device.type} in {kind} by {backend}",
            f"\nEquations\n{text.equations(compiled.program)}",
            "\nPlan",
            *(f"  {i}. {line}" for i, line in enumerate(described(plan), 1)),
            *(f"  {line}" for line in stacks(opt, compiled, dtype, device)),
            f"  {moved(plan, types) * (2 if dtype.is_complex else 1):.4g} bytes moved per element",
        ]
        if code:
            parts.append(f"\nOn the host, once per step\n{host.emit(plan.numbers)}")
            parts.append(f"\nSource\n{source(backend, plan, types)}")
        pages.append("\n".join(parts))
    return "\n\n".join(pages)


def types_of(opt: Optimizer, compiled: Compiled, group: Mapping[str, Any], p: Tensor) -> dict[str, str]:
    """The type of each array of a parameter: of its states as they are, or as the first step would make them."""
    state, plan, like = opt.state.get(p, {}), compiled.plan, torch.empty(0, dtype=p.dtype)
    found = {"p": p.dtype, "g": p.dtype if p.grad is None else p.grad.dtype}
    found |= dict.fromkeys(plan.between.values(), torch.float64 if like.real.dtype == torch.float64 else torch.float32)
    rule = opt.rule_of(group)
    for k, x in compiled.program.start.items():
        if x.shape is not HOST:
            made = state.get(rule.key(k))
            found[k] = type_of(x, group, p) if made is None else made.dtype
    return kinds_of(plan, found)


def source(backend: str, plan: Plan, types: dict[str, str]) -> str:
    """The emitted text."""
    if backend == "llvm":
        return llvm_emitter.emit(plan, types)
    if backend == "triton":
        from ravine.compile.emit import triton

        return triton.emit(plan, types)
    return "none: the reference backend runs the graph node by node in torch"


def described(plan: Plan) -> list[str]:
    """The phases of a step, a line for each call."""
    lines, kernels = list[str](), iter(plan.kernels)
    for phase in plan.phases:
        match phase:
            case Sweep():
                k = next(kernels)
                sums = f"; sums {len(k.sums) + len(k.short)}" if k.sums or k.short else ""
                reads, writes = ", ".join(plan.reads(k)), ", ".join(plan.writes(k))
                lines.append(f"kernel: reads {reads}; writes {writes or 'nothing'}{sums}")
            case Matrix(nodes) if nodes:
                names = dict.fromkeys(x.arg.name for x in nodes if isinstance(x.arg, Call))
                lines.append(f"matrix work in torch{': ' * bool(names)}{', '.join(names)}")
            case Reduce(sums) if phase.all:
                lines.append(f"{len(sums)} sum{'s' * (len(sums) > 1)} over all tensors, on the host")
            case _:
                pass
    return lines


def stacks(opt: Optimizer, compiled: Compiled, dtype: torch.dtype, device: torch.device) -> list[str]:
    """Which equal calls of matrix operations were one of a stack when they were last made."""
    batches = [] if opt._arranged is None else opt._arranged.batches
    mine = [
        x for x in batches if x.compiled is compiled and (x.bound[0].p.dtype, x.bound[0].p.device) == (dtype, device)
    ]
    return [f"{what}: {how}" for batch in mine for what, how in batch.launch.outcomes.items()]


def moved(plan: Plan, types: dict[str, str]) -> float:
    """Bytes read and written for each element of a parameter, over all kernels of a step."""
    whole = {a for a in plan.arrays if plan.shape(a) == FULL}
    return sum(width(types[a]) for k in plan.kernels for a in [*plan.reads(k), *plan.writes(k)] if a in whole)
