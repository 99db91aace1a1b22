"""Loading a state: all is checked before anything changes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from ravine.compile.expr import HOST
from ravine.compile.storage import CODED
from ravine.hyper import constants, fields, settle
from ravine.modifier import Modifier
from ravine.state import BITS, TYPES, misfit, numbers_of, scale_of, shape_of, stored
from ravine.view import TRAIN

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


OWN = ("storage", "master_bits", "nonfinite", "measured", "capturable")  # as this optimizer has them, not the saved one


def load(opt: Optimizer, state_dict: dict[str, Any], torchs: Callable[[dict[str, Any]], None]) -> None:
    """Check, let torch's load do its work, then give every state back the type it came in."""
    final: dict[str, Any] = {}
    came: dict[Any, str | None] = {}  # the storage that each parameter's state was saved in

    def check(_: Any, given: dict[str, Any]) -> None:  # runs after the user's own hooks, before any change
        came.update({i: group.get("storage") for group in given["param_groups"] for i in group["params"]})
        final.update(given, param_groups=groups(opt, given["param_groups"]))
        states(opt, final)
        given["param_groups"] = final["param_groups"]

    def restore(_: Any) -> None:  # runs before the user's own hooks
        for saved, group in zip(final["param_groups"], opt.param_groups, strict=True):
            for i, p in zip(saved["params"], group["params"], strict=True):
                host = {"step", *numbers_of(opt.compiled(group, p))}
                if i in final["state"]:
                    state = {k: x for k, x in final["state"][i].items() if x is not None}
                    state = {k: number(x) if k in host else own(x, p) for k, x in state.items()}
                    other = came[i] != group["storage"] and {came[i], group["storage"]} & {"bf16", "int8"}
                    opt.state[p] = stored(opt, opt.compiled(group, p), group, p, state, bool(other))

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
    return x.detach().to("cpu", copy=True) if isinstance(x, Tensor) else torch.tensor(float(x), device="cpu")


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
        mine |= {k: now[k] for k in OWN}
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
            compiled = opt.compiled(saved, p)
            expected = {opt.key(k): x for k, x in compiled.program.start.items()}
            always = {opt.key(k) for k in opt.compiled(plain, p).program.start}  # other flags may bring more
            found = {k: x for k, x in final["state"].get(i, {}).items() if x is not None}
            known = {*expected, *opt.names.values(), *opt.state.get(p, {}), "step", TRAIN, BITS}
            coded = {k for k in expected if scale_of(k) in found}
            known |= {scale_of(k) for k in coded}
            if (unknown := found.keys() - known) and (unknown := unknown - once(opt, saved, p, unknown)):
                raise ValueError(
                    f"this is not a state_dict of {owner}: parameter {i} has {', '.join(sorted(unknown))}, "
                    f"and {owner} keeps {', '.join(expected) or 'nothing'}"
                )
            if found and (missing := expected.keys() & always - found.keys()):
                raise ValueError(
                    f"this is not a state_dict of {owner}: parameter {i} has no {', '.join(sorted(missing))}"
                )
            for k in (k for k in expected if k in found):
                x, start = found[k], expected[k]
                types = CODED.values() if k in coded else TYPES
                if not (x.dtype in types if isinstance(x, Tensor) else isinstance(x, int | float)):
                    raise ValueError(f"{owner}: {k} of parameter {i} is {x!r} in the state_dict")
                given = list(x.shape) if isinstance(x, Tensor) else []
                here = [] if start.shape is HOST else shape_of(start, p, compiled.plan.view)
                if given != here:
                    raise ValueError(
                        f"{owner}: {k} of parameter {i} has shape {tuple(given)} in the state_dict; for a parameter of "
                        f"shape {tuple(p.shape)} it must have {tuple(here)}"
                    )

            for k in [*map(scale_of, coded), *([BITS] if BITS in found else [])]:
                if wrong := misfit(k, found, p):
                    raise ValueError(f"{owner}: of parameter {i} in the state_dict {wrong}")


def once(opt: Optimizer, hyper: Mapping[str, Any], p: Tensor, names: set[str]) -> set[str]:
    """Those of the names that a modifier keeps, or this rule with another flag: no longer used, but not another's."""
    worn = "|".join(f"{cls.__name__.lower()}\\d*_" for cls in kinds(Modifier))
    out = {k for k in names if re.match(worn, k)}
    for name, (kind, _) in fields(type(opt)).items():
        others = get_args(kind) if get_origin(kind) is Literal else (False, True) if kind is bool else ()
        for other in (0.0, 0.1) if kind is float else others:
            try:
                program = opt.compiled({**hyper, name: other}, p).program
            except (TypeError, ValueError):  # what does not go together
                continue
            out |= names & {opt.key(k) for k in program.start}
    return out


def kinds(cls: type) -> list[type]:
    """All classes derived from this one."""
    return [x for sub in cls.__subclasses__() for x in (sub, *kinds(sub))]
