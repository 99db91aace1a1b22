"""What `state_dict()` returns: torch's form, in which each parameter has counts of its own that stay live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from torch import Tensor

from ravine.compile.block import Block
from ravine.optimizer.state import numbers_of, widened
from ravine.saved import has_memory

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


def saved(opt: Optimizer, out: dict[str, Any], decoded: bool) -> dict[str, Any]:
    """torch's state dict with copies of shared counts, and modifiers as dicts; decoded: a copy in float32."""
    shared = {"step", *(k for g in opt.param_groups for p in g["params"] for k in numbers_of(opt.compiled(g, p)))}
    states: dict[Any, Any] = {}
    opt._given = [x for x in opt._given if x[0]() is not None]
    for i, state in out["state"].items():
        if not isinstance(state, dict):
            states[i] = state
            continue
        states[i] = dict(state)
        for k in (k for k in shared & state.keys() if isinstance(state[k], Tensor)):
            states[i][k] = x = state[k].clone()
            opt._given.append((ref(x), state, k))
    if decoded:
        copies = {i: {k: x.clone() if isinstance(x, Tensor) else x for k, x in s.items()} for i, s in states.items()}
        states = copies
    out["state"] = states
    for group in out["param_groups"]:
        group["mods"] = [mod.as_dict() for mod in group["mods"]]
        group.update({k: repr(x) for k, x in group.items() if isinstance(x, Block)})
        if decoded and group["storage"] in ("bf16", "int8"):
            group["storage"] = "float32"
            out["state"] |= {i: widened(states[i]) for i in group["params"] if i in states}
    return out


def follow(opt: Optimizer) -> None:
    """Update the counts in state dicts that the caller still holds."""
    kept = [(x, state, k) for made, state, k in opt._given if (x := made()) is not None]
    for x, state, k in kept:
        # unless the caller cleared the state or resized the tensor
        if k in state and x.numel() == 1 and has_memory(x):
            x.detach().copy_(state[k])
    opt._given = [(ref(x), state, k) for x, state, k in kept]
