"""What `update` takes beside s, p, g and t: from the call of step(), from sources, or as it was given before.

A number goes to the host's part of the step. An array lies beside the states of its parameter under its name, where
kernels and matrix work read it and checkpoints find it; it is written here, before the step begins. A rule that names
`fresh` is told whether it was, since the array of before may still be there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.compile.block import View
from ravine.compile.emit.host import NONE
from ravine.compile.expr import FULL, HOST, Expr
from ravine.compile.geometry import Extent, local, placing, real
from ravine.compile.trace import FRESH
from ravine.optimizer.exchange import NonFinite
from ravine.optimizer.refuse import check
from ravine.optimizer.state import as_state, movable, shape_of
from ravine.rule.processes import mean
from ravine.rule.source import Source
from ravine.saved import told

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where an array lies: beside the states of a parameter whose program reads it."""

    index: int  # of the parameter among all of the optimizer
    group: dict[str, Any]
    p: Tensor
    name: str
    key: str  # in opt.state[p]
    how: Expr  # how it begins: its shape in letters
    view: View

    @property
    def shape(self) -> list[int]:
        """Its shape in memory."""
        return shape_of(self.how, self.p, self.view)

    def __str__(self) -> str:
        return f"parameter {self.index} of shape {tuple(self.p.shape)}"


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
    if same := [k for other in opt.sources for k in other.gives if k in source.gives]:
        raise ValueError(f"{owner}: two sources give {same[0]}; one is enough")
    source.watch(opt)
    opt.sources = (*opt.sources, source)
    opt._orphaned -= {*source.gives}


def take(opt: Optimizer, given: Mapping[str, Any], begins: bool) -> Mapping[str, float | Tensor]:
    """The numbers of a step; arrays go into their places. Raises before anything has changed.

    begins: the step is made for states to load into; arrays are zeros.
    """
    owner, takes = type(opt).__name__, {name: shape for name, shape in opt._takes.items() if name != FRESH}
    if unknown := sorted(given.keys() - takes.keys() - {"loss"}):
        known = ", ".join(takes) or "nothing"
        raise TypeError(f"{owner}: step() takes no '{unknown[0]}'; it takes {known}, and the loss")
    if not takes:
        return NONE
    wanted = {name: list(places(opt, name)) for name, shape in takes.items() if shape is not HOST}
    if begins:
        write(opt, {at: None for listed in wanted.values() for at in listed if missing(opt, at)})
        for source in opt.sources:
            source.begin()
        return NONE
    found = asked(opt, given, wanted)
    numbers = {name: number(opt, name, found) for name, shape in takes.items() if shape is HOST}
    if FRESH in opt._takes:
        numbers[FRESH] = float(any(found.get(name) for name in wanted))
    changes = dict[Place, Tensor | None]()
    for name, listed in wanted.items():
        values = arrays(opt, name, found.get(name, NONE))
        for at in listed:
            if (value := values.get(at.p)) is not None:
                changes[at] = checked(owner, at, value)
                if odd(opt, at):
                    check(opt, at.index, at.group, at.p, at.p.grad)  # pyright: ignore[reportArgumentType]  # places()
            elif missing(opt, at):
                lines = opt.rule_of(at.group).asks
                raise TypeError(
                    f"{owner}: {at} is given no '{name}', which update() takes, of shape {tuple(at.shape)}; give it by "
                    f"step({name}={{p: …}}) or by one of sources=[…]{lines and ':'}{lines}"
                )
    if changes and any(group["nonfinite"] != "ignore" for group in opt.param_groups):
        for at, value in changes.items():
            if value is not None and not value.isfinite().all():
                raise NonFinite(f"'{at.name}' of {at} is NaN or infinite; nothing has changed")
    write(opt, changes)
    return numbers


def places(opt: Optimizer, name: str) -> Iterator[Place]:
    """Who takes an array: the parameters with a gradient whose program reads it."""
    programs, i = dict[Any, Any](), 0
    for group in opt.param_groups:
        key = opt.rule_of(group).key(name)
        for p in group["params"]:
            if p.grad is not None and movable(p):
                kind = (id(group), p.dim() < 2, p.dtype)  # what a rule may ask of a tensor
                if (compiled := programs.get(kind)) is None:
                    compiled = programs[kind] = opt.compiled(group, p)
                if (how := compiled.program.start.get(name)) is not None:
                    yield Place(i, group, p, name, key, how, compiled.plan.view)
            i += 1


def asked(opt: Optimizer, given: Mapping[str, Any], wanted: Mapping[str, Sequence[Place]]) -> dict[str, Any]:
    """What this step is given: by its call, else by the sources that are due."""
    found = dict(given)
    for source in opt.sources:
        names = [k for k in source.gives if k in opt._takes and k not in found]
        if names and source.due:
            if getattr(opt, "found_inf", None) is not None:
                raise RuntimeError(
                    f"{type(opt).__name__}: GradScaler scales the loss, and {type(source).__name__} would give what is "
                    "scaled too: train in bfloat16, which needs no scaler"
                )
            found |= source.give({k: [at.p for at in wanted.get(k, ())] for k in names})
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
    group = processes(opt, name)
    if group is not None:
        device = next(p.device for listed in opt.param_groups for p in listed["params"])
        x = mean(torch.as_tensor(x, dtype=torch.float64, device=device), group)
    return x if opt._recorded else float(x)


def processes(opt: Optimizer, name: str) -> Any:
    """The processes that train with this optimizer, each with a number of its own part of the batch; None alone."""
    if opt.process_group is False or not dist.is_available() or not dist.is_initialized():
        return None
    if opt.process_group is not None or (world := dist.get_world_size()) == 1:
        return opt.process_group
    if opt._zero is not None and (zero := opt._zero()) is not None:
        return zero.process_group
    meshes = [placing(p)[0] for group in opt.param_groups for p in group["params"]]
    if all(mesh is not None and mesh.size() == world for mesh in meshes):
        return dist.group.WORLD
    owner = type(opt).__name__
    raise RuntimeError(
        f"{owner}: {world} processes run, and each gives the {name} of its own part of the batch; give "
        f"{owner}(…, process_group=torch.distributed.group.WORLD) where they train one model, as in DDP, and it is "
        "averaged, else process_group=False"
    )


def arrays(opt: Optimizer, name: str, given: Any) -> Mapping[Tensor, Any]:
    """The arrays that were given under a name, for parameters that are the optimizer's."""
    owner = type(opt).__name__
    if not isinstance(given, Mapping):
        raise TypeError(f"{owner}: {name} is {told(given)}; it must be a dict {{p: tensor}} of parameters")
    known = {p for group in opt.param_groups for p in group["params"]} if given else set[Tensor]()
    if other := [p for p in given if p not in known]:
        raise ValueError(f"{owner}: {name} is given for {told(other[0])}, which is no parameter of this optimizer")
    return given  # pyright: ignore[reportUnknownVariableType]


def checked(owner: str, at: Place, value: Any) -> Tensor:
    """An array that fits its place, or an error."""
    who, p, full = f"{owner}: {at.name} of {at}", at.p, at.how.shape == FULL
    if not isinstance(value, Tensor) or list(value.shape) != at.shape:
        raise ValueError(f"{who} is {told(value)}; it must be a tensor of shape {tuple(at.shape)}")
    placed = local(value) is value or (full and placing(value) == placing(p))
    if value.device != p.device or not placed:
        raise ValueError(
            f"{who} is on {value.device}, and the parameter on {p.device}; give the whole array there, or one that is "
            "distributed as the parameter is"
        )
    if value.is_complex() and not (p.is_complex() and full):
        raise ValueError(f"{who} is {value.dtype}; it must be real")
    return value.detach()


def odd(opt: Optimizer, at: Place) -> bool:
    """True where a step may be refused for its gradient or for states of another shape, before an array is written."""
    kept = opt.state.get(at.p, {}).get(at.key)
    sparse = at.p.grad is not None and at.p.grad.layout is not torch.strided
    return sparse or (isinstance(kept, Tensor) and list(kept.shape) != at.shape)


def missing(opt: Optimizer, at: Place) -> bool:
    """True if a parameter was never given this array."""
    return at.key not in opt.state.get(at.p, ())


@torch.no_grad()
def write(opt: Optimizer, changes: Mapping[Place, Tensor | None]) -> None:
    """Arrays into their places; None is zeros."""
    for at, value in changes.items():
        p, state = at.p, opt.state[at.p]
        if at.key not in state:
            here = shape_of(at.how, local(p), at.view)
            zeros = real(torch.zeros_like(p)) if at.how.shape == FULL else torch.zeros(here, device=p.device)
            state |= as_state(at.key, zeros, at.how, at.group, p, at.view)
        if value is not None:
            kept = real(local(state[at.key]))
            kept.copy_(part(at, value).reshape(kept.shape))


def part(at: Place, value: Tensor) -> Tensor:
    """What lies here of an array of a distributed parameter; of others, all."""
    if local(at.p) is at.p or local(value) is not value:
        return real(local(value))
    return Extent.of(at.p).part(real(value), at.how.shape, at.view)
