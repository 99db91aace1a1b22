"""Loading a state and changing between training and evaluation weights: what touches states outside a step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.arrange import TYPES, numbers_of
from ravine.compile.emit.reference import evaluate, extent, wide
from ravine.compile.expr import FULL, HOST, VECTORS, Expr
from ravine.compile.launch.base import real
from ravine.compile.trace import number_of
from ravine.hyper import constants, fields, settle
from ravine.modifier import Modifier

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
        for saved, group in zip(final["param_groups"], opt.param_groups, strict=True):
            for i, p in zip(saved["params"], group["params"], strict=True):
                host = {"step", *numbers_of(opt.compiled(group, p))}
                if i in final["state"]:
                    state = {k: x for k, x in final["state"][i].items() if x is not None}
                    opt.state[p] = {k: number(x) if k in host else own(x, p) for k, x in state.items()}

    hooks = [
        opt.register_load_state_dict_pre_hook(check),
        opt.register_load_state_dict_post_hook(restore, prepend=True),
    ]
    try:
        torchs(state_dict)
    finally:
        for hook in hooks:
            hook.remove()


def number(x: Any) -> Tensor:
    """A copy of a loaded number of the host, which stays on the CPU."""
    return x.detach().to("cpu", copy=True) if isinstance(x, Tensor) else torch.tensor(float(x))


def own(x: Any, p: Tensor) -> Tensor:
    """A copy of a loaded state beside its parameter, in its order of memory where it has its shape."""
    if not isinstance(x, Tensor):
        return torch.tensor(float(x), device=p.device)
    if x.shape == p.shape:
        return torch.empty_like(p, dtype=x.dtype, requires_grad=False).copy_(x)
    return x.detach().to(p.device, copy=True)


def groups(opt: Optimizer, saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The saved groups in the order of this optimizer's names, with what this version has beyond theirs."""
    owner, known = type(opt).__name__, fields(type(opt))
    twins = inspect.signature(opt.twin).parameters if opt.twin else known
    always = {k for k, (_, default) in known.items() if isinstance(default, float | tuple) and k in twins}
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
        if missing := always - old.keys():
            raise ValueError(f"this is not a state_dict of {owner}: group {i} has no {', '.join(sorted(missing))}")
        old = old | {"mods": worn(f"{owner}: group {i}", old.get("mods"), now["mods"])}
        mine = {k: now[k] for k in known if k not in old}
        try:
            mine |= settle(type(opt), {k: old[k] for k in known if k in old})
        except TypeError as error:
            raise ValueError(f"this is not a state_dict of {owner}: group {i}: {error}") from error
        opt.validate(mine)
        out.append(old | mine | constants(type(opt)) | by_name(f"{owner}: group {i}", old, now))
    return out


def worn(who: str, saved: Any, now: tuple[Modifier, ...]) -> tuple[Modifier, ...]:
    """This optimizer's modifiers with the saved numbers; a state_dict of torch has none."""
    if saved is None:
        return now
    names = [x["mod"] for x in saved], [type(x).__name__ for x in now]
    if names[0] != names[1]:
        raise ValueError(
            f"{who} has mods {names[0]} in the state_dict and {names[1]} here; make the optimizer with the same ones"
        )
    return tuple(mod.like(x) for mod, x in zip(now, saved, strict=True))


def by_name(who: str, old: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The saved parameters in the order of this group's, where both have names; else they go by place."""
    if "param_names" not in old or "param_names" not in now:
        return {}
    place = dict(zip(old["param_names"], old["params"], strict=True))
    if other := place.keys() ^ set(now["param_names"]):
        side = {True: "only in the state_dict", False: "only here"}
        raise ValueError(f"{who} has other names: " + ", ".join(f"{k} {side[k in place]}" for k in sorted(other)[:5]))
    return {"params": [place[k] for k in now["param_names"]], "param_names": list(now["param_names"])}


def states(opt: Optimizer, final: Mapping[str, Any]) -> None:
    """Raise unless every saved state has the names and the shapes of this optimizer's."""
    owner = type(opt).__name__
    plain = {k: default for k, (_, default) in fields(type(opt)).items()}
    for saved, group in zip(final["param_groups"], opt.param_groups, strict=True):
        for i, p in zip(saved["params"], group["params"], strict=True):
            expected = {opt.key(k): x for k, x in opt.compiled(saved, p).program.start.items()}
            always = {opt.key(k) for k in opt.compiled(plain, p).program.start}  # other flags may bring more
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
        if group.get("mode", "train") == which:
            continue
        for p in group["params"]:
            compiled, state = opt.compiled(group, p), opt.state.get(p)
            if which not in compiled.program.views:
                continue
            group["mode"] = which
            if state:
                shown = compiled.program.views[which]
                values = viewed(opt, shown, compiled.plan.view, group, p, state)
                for k, x in shown.items():
                    target = real(p if k == "p" else state[opt.key(k)])
                    target.copy_(values[x].reshape(target.shape))


def viewed(
    opt: Optimizer,
    shown: Mapping[str, Expr],
    view: str,
    group: Mapping[str, Any],
    p: Tensor,
    state: Mapping[str, Tensor],
) -> dict[Expr, Tensor]:
    """The values of the weights to hold, and of the states that change with them, in the type of computation."""
    compute = torch.float64 if p.dtype in (torch.float64, torch.complex128) else torch.float32
    numbers, whole = wide(p.device), (FULL, *VECTORS)

    def read(leaf: Expr) -> Tensor:
        if leaf.op == "hyper":
            return torch.tensor(float(number_of(group, str(leaf.arg))), dtype=numbers)
        found = p if leaf.op == "p" else state["step" if leaf.op == "t" else opt.key(str(leaf.arg))]
        if leaf.shape is HOST:
            return found.to("cpu", numbers)
        found = real(found).to(compute, copy=True)
        return found.reshape(extent(real(p), leaf.shape, view)) if leaf.shape in whole else found

    return evaluate(shown.values(), read, real(p), view=view)
