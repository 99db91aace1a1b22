"""What `update` takes beside s, p, g and t: from the call of step(), from sources, or as it was given before.

A number goes to the host's part of the step. An array lies beside the states of its parameter under its name, where
kernels and matrix work read it and checkpoints find it; it is written here, before the step begins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ravine.compile.emit.host import NONE
from ravine.compile.expr import FULL, HOST, Expr
from ravine.compile.geometry import local, placing, real
from ravine.optimizer.exchange import NonFinite
from ravine.optimizer.state import as_state, movable, shape_of
from ravine.rule.source import Given, Source
from ravine.saved import told

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer

Place = tuple[int, dict[str, Any], Tensor, Expr]  # of a parameter that takes an array: its number, group, itself, how


def add(opt: Optimizer, source: Source) -> None:
    """Let a source give to this optimizer; an error where its rule takes nothing of what the source gives."""
    owner, kind = type(opt).__name__, type(source).__name__
    if not isinstance(source, Source):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{owner}: sources has {told(source)}; it must be a list of sources, such as Hutchinson()")
    takes = ", ".join(opt._takes) or "nothing beside s, p, g and t"
    if not opt._takes.keys() & {*source.gives}:
        raise ValueError(f"{owner}: {kind} gives {', '.join(source.gives)}, and update() takes {takes}")
    if opt.defaults["capturable"]:
        raise ValueError(f"{owner}: capturable=True takes no sources, which the host asks; give step(name=…) yourself")
    if same := [k for other in opt._sources for k in other.gives if k in source.gives]:
        raise ValueError(f"{owner}: two sources give {same[0]}; one is enough")
    source.watch(opt)
    opt._sources = (*opt._sources, source)
    opt._orphaned -= {*source.gives}


def take(opt: Optimizer, given: Mapping[str, Any], begins: bool) -> Mapping[str, float | Tensor]:
    """The numbers of a step, and arrays into their places. Raises before anything has changed.

    begins: the step is made for states to load into; arrays are zeros.
    """
    owner, takes = type(opt).__name__, opt._takes
    if unknown := sorted(given.keys() - takes.keys() - {"loss"}):
        raise TypeError(
            f"{owner}: step() takes no '{unknown[0]}'; it takes {', '.join(takes) or 'nothing'}, and the loss"
        )
    if not takes:
        return NONE
    wanted = places(opt)
    if begins:
        write(
            [(*place, name, None) for name, listed in wanted.items() for place in listed if missing(opt, place, name)],
            opt,
        )
        return NONE
    found = asked(opt, given, wanted)
    numbers = {name: number(opt, name, found) for name, shape in takes.items() if shape is HOST}
    changes: list[tuple[int, dict[str, Any], Tensor, Expr, str, Tensor | None]] = []
    for name, listed in wanted.items():
        values = arrays(opt, name, found.get(name, NONE))
        for place in listed:
            if (value := values.get(place[2])) is not None:
                changes.append((*place, name, checked(opt, place, name, value)))
            elif missing(opt, place, name):
                i, _, p, x = place
                raise TypeError(
                    f"{owner}: parameter {i} of shape {tuple(p.shape)} is given no '{name}', which update() takes, of "
                    f"shape {tuple(shape_of(x, p, 'first'))}; give it by step({name}={{p: …}}) or by one of sources=[…]"
                )
    if any(group["nonfinite"] != "ignore" for group in opt.param_groups):
        for i, _, p, _, name, value in changes:
            if value is not None and not value.isfinite().all():
                raise NonFinite(
                    f"'{name}' of parameter {i} of shape {tuple(p.shape)} is NaN or infinite; nothing has changed"
                )
    write(changes, opt)
    return numbers


def places(opt: Optimizer) -> dict[str, list[Place]]:
    """Who takes each array: the parameters with a gradient whose program reads it."""
    wanted: defaultdict[str, list[Place]] = defaultdict(list)
    every = [(group, p) for group in opt.param_groups for p in group["params"]]
    names = [k for k, shape in opt._takes.items() if shape is not HOST]
    for i, (group, p) in enumerate(every) if names else ():
        if p.grad is not None and movable(p):
            start = opt.compiled(group, p).program.start
            for name in names:
                if name in start:
                    wanted[name].append((i, group, p, start[name]))
    return wanted


def asked(opt: Optimizer, given: Mapping[str, Any], wanted: Mapping[str, Sequence[Place]]) -> dict[str, Any]:
    """What this step is given: by its call, else by the sources that are due."""
    found = dict(given)
    for source in opt._sources:
        names = [k for k in source.gives if k in opt._takes and k not in found]
        if names and source.due:
            if getattr(opt, "found_inf", None) is not None:
                raise RuntimeError(
                    f"{type(opt).__name__}: GradScaler scales the loss, and {type(source).__name__} would give what is "
                    "scaled too: train in bfloat16, which needs no scaler"
                )
            found |= source.give({k: [p for _, _, p, _ in wanted.get(k, ())] for k in names})
    if lost := sorted(opt._orphaned - found.keys()):
        raise RuntimeError(
            f"{type(opt).__name__}: a copy of an optimizer has no sources, and nobody gives '{lost[0]}' now; call "
            f"opt.watch(source), or step({lost[0]}=…)"
        )
    return found


def number(opt: Optimizer, name: str, found: Mapping[str, Any]) -> float | Tensor:
    """A number of this step; as a tensor where the host has no part in steps."""
    if name not in found:
        also = ", or step(closure)" if name == "loss" else ", or give one of sources=[…]"
        raise TypeError(f"{type(opt).__name__} needs the {name}: call step({name}={name}){also}")
    x = found[name]
    x = x.detach() if isinstance(x, Tensor) else x
    return x if opt._recorded else float(x)


def arrays(opt: Optimizer, name: str, given: Given) -> Mapping[Tensor, Tensor]:
    """The arrays that were given under a name, for parameters that are the optimizer's."""
    owner = type(opt).__name__
    if not isinstance(given, Mapping):
        raise TypeError(f"{owner}: {name} is {told(given)}; it must be a dict {{p: tensor}} of parameters")
    known = {p for group in opt.param_groups for p in group["params"]} if given else set[Tensor]()
    if other := [p for p in given if p not in known]:
        raise ValueError(f"{owner}: {name} is given for {told(other[0])}, which is no parameter of this optimizer")
    return given


def checked(opt: Optimizer, place: Place, name: str, value: Any) -> Tensor:
    """An array that fits its parameter, or an error."""
    i, group, p, x = place
    who = f"{type(opt).__name__}: {name} of parameter {i} of shape {tuple(p.shape)}"
    shape = shape_of(x, p, opt.compiled(group, p).plan.view)
    if not isinstance(value, Tensor) or list(value.shape) != shape:
        raise ValueError(f"{who} is {told(value)}; it must be a tensor of shape {tuple(shape)}")
    if value.device != p.device or (x.shape == FULL and placing(value) != placing(p)):
        raise ValueError(f"{who} is on {value.device}; it must be where the parameter is, on {p.device}")
    if value.is_complex() and not (p.is_complex() and x.shape == FULL):
        raise ValueError(f"{who} is {value.dtype}; it must be real")
    return value.detach()


def missing(opt: Optimizer, place: Place, name: str) -> bool:
    """True if a parameter was never given this array."""
    return opt.key(name) not in opt.state.get(place[2], ())


@torch.no_grad()
def write(changes: Sequence[tuple[int, dict[str, Any], Tensor, Expr, str, Tensor | None]], opt: Optimizer) -> None:
    """Arrays into their places; no value is zeros."""
    for _, group, p, x, name, value in changes:
        view, key = opt.compiled(group, p).plan.view, opt.key(name)
        state = opt.state[p]
        if value is None:
            value = torch.zeros_like(p) if x.shape == FULL else torch.zeros(shape_of(x, p, view), device=p.device)
        if (kept := state.get(key)) is None:
            state |= as_state(key, real(value), x, group, p, view)
        else:
            kept = real(local(kept))
            kept.copy_(real(local(value)).reshape(kept.shape))
