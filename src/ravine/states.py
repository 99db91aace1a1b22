"""Loading a state and changing between training and evaluation weights: what touches states outside a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.arrange import TYPES
from ravine.compile.emit.reference import evaluate
from ravine.compile.expr import FULL, HOST, Expr
from ravine.compile.launch.base import real
from ravine.compile.trace import number_of
from ravine.hyper import fields, settle

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


def load(opt: Optimizer, state_dict: dict[str, Any], torchs: Callable[[dict[str, Any]], None]) -> None:
    """Check, let torch's load do its work, then give every state back the type it came in."""
    final: dict[str, Any] = {}

    def check(_: Any, given: dict[str, Any]) -> None:  # runs after the user's own hooks, before any change
        final.update(given, param_groups=groups(opt, given["param_groups"]))
        states(opt, final)
        given["param_groups"] = final["param_groups"]

    def restore(_: Any) -> None:  # runs before the user's own hooks
        numbers = [i for group in final["param_groups"] for i in group["params"]]
        params = [p for group in opt.param_groups for p in group["params"]]
        for i, p in zip(numbers, params, strict=True):
            if i in final["state"]:
                opt.state[p] = {k: own(x, p) for k, x in final["state"][i].items() if x is not None}

    hooks = [
        opt.register_load_state_dict_pre_hook(check),
        opt.register_load_state_dict_post_hook(restore, prepend=True),
    ]
    try:
        torchs(state_dict)
    finally:
        for hook in hooks:
            hook.remove()


def own(x: Any, p: Tensor) -> Tensor:
    """A copy of a loaded state: beside its parameter and in its order of memory, or on the CPU for a number."""
    if not isinstance(x, Tensor):
        return torch.tensor(float(x))
    if x.shape == p.shape and p.dim():
        return torch.empty_like(p, dtype=x.dtype, requires_grad=False).copy_(x)
    return x.detach().clone()


def groups(opt: Optimizer, saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The saved groups with what this version has beyond theirs."""
    owner, known = type(opt).__name__, fields(type(opt))
    if len(saved) != len(opt.param_groups):
        raise ValueError(
            f"{owner}: the state_dict has {len(saved)} parameter groups, this optimizer {len(opt.param_groups)}"
        )
    out = []
    for i, (old, now) in enumerate(zip(saved, opt.param_groups, strict=True)):
        if len(old["params"]) != len(now["params"]):
            raise ValueError(
                f"{owner}: group {i} has {len(old['params'])} parameters in the state_dict, {len(now['params'])} here"
            )
        floats = {k for k, (_, d) in known.items() if isinstance(d, float | tuple)}
        if missing := floats - old.keys() - (floats - {"lr", "betas", "eps", "momentum", "alpha", "rho", "etas"}):
            raise ValueError(f"this is not a state_dict of {owner}: group {i} has no {', '.join(sorted(missing))}")
        mine = {k: now[k] for k in known if k not in old} | settle(type(opt), {k: old[k] for k in known if k in old})
        out.append(old | mine)
    return out


def states(opt: Optimizer, final: Mapping[str, Any]) -> None:
    """Raise unless every saved state has the names and the shapes of this optimizer's."""
    owner = type(opt).__name__
    plain = {k: default for k, (_, default) in fields(type(opt)).items()}
    always = {opt.key(k) for k in opt.compiled(plain).program.start}  # other flags, and changed ones, may bring more
    for saved, group in zip(final["param_groups"], opt.param_groups, strict=True):
        start = opt.compiled(saved).program.start
        expected = {opt.key(k): x for k, x in start.items()}
        for i, p in zip(saved["params"], group["params"], strict=True):
            found = {k: x for k, x in final["state"].get(i, {}).items() if x is not None and k != "step"}
            if unknown := found.keys() - expected.keys() - set(opt.names.values()):
                raise ValueError(
                    f"this is not a state_dict of {owner}: parameter {i} has {', '.join(sorted(unknown))}, "
                    f"and {owner} keeps {', '.join(expected) or 'nothing'}"
                )
            if final["state"].get(i) and (missing := expected.keys() & always - found.keys()):
                raise ValueError(
                    f"this is not a state_dict of {owner}: parameter {i} has no {', '.join(sorted(missing))}"
                )
            for k, x in found.items():
                whole = k in expected and expected[k].shape == FULL
                if not (x.dtype in TYPES if isinstance(x, Tensor) else isinstance(x, int | float) and not whole):
                    raise ValueError(f"{owner}: {k} of parameter {i} is {x!r} in the state_dict")
                if whole and isinstance(x, Tensor) and x.shape != p.shape:
                    raise ValueError(
                        f"{owner}: {k} of parameter {i} has shape {tuple(x.shape)} in the state_dict, "
                        f"and the parameter has {tuple(p.shape)}"
                    )


@torch.no_grad()
def view(opt: Optimizer, which: str) -> None:
    """Exchange the weights in the model for those to evaluate or to train with, where the rule has two kinds."""
    for group in opt.param_groups:
        compiled = opt.compiled(group)
        if which not in compiled.program.views or group.get("mode", "train") == which:
            continue
        group["mode"] = which
        for p in group["params"]:
            if state := opt.state.get(p):
                real(p).copy_(viewed(opt, compiled.program.views[which], group, p, state))


def viewed(opt: Optimizer, x: Expr, group: Mapping[str, Any], p: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    """The value of x for a parameter, in the type of computation."""
    wide = torch.float64 if p.dtype == torch.float64 else torch.float32

    def read(leaf: Expr) -> Tensor:
        if leaf.op == "p":
            return real(p).to(wide)
        if leaf.op == "hyper":
            return torch.tensor(float(number_of(group, str(leaf.arg))), dtype=torch.float64)
        found = state["step" if leaf.op == "t" else opt.key(str(leaf.arg))]
        return found.double().cpu() if leaf.shape is HOST else real(found).to(wide)

    return evaluate([x], read, real(p))[x]
