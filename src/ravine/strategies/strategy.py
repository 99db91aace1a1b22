"""What every strategy shares: it is an optimizer for torch, has the groups of the one it drives, and saves as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self
from weakref import ref

import torch
from torch import Tensor

from ravine.load import by_name
from ravine.optimizer import Optimizer


def driver(name: str, opt: object) -> None:
    """Raise TypeError where a strategy of this name is given something else than an optimizer."""
    if not isinstance(opt, torch.optim.Optimizer):
        given = f"the class {opt.__name__}" if isinstance(opt, type) else f"a {type(opt).__name__}"
        raise TypeError(f"{name} drives an optimizer, and was given {given}: "
                        f"write {name}(ravine.SGD(model.parameters(), …), …)")  # fmt: skip


class Strategy(torch.optim.Optimizer):
    """Drives an optimizer, `self.optimizer`: ravine's, torch's or another strategy.

    Groups are the driven optimizer's own, so schedules may be given either of the two. `state` has what the strategy
    keeps for a parameter; `state_dict()` has both in torch's form, and `load_state_dict` takes it apart again.
    """

    papers: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ()  # what is saved of the strategy itself

    optimizer: torch.optim.Optimizer
    state: defaultdict[Tensor, dict[str, Any]]

    def __init__(self, opt: torch.optim.Optimizer, **own: Any):
        driver(type(self).__name__, opt)
        if any(x.prefix == self.prefix for x in driven(opt) if isinstance(x, Strategy)):
            raise TypeError(f"{type(self).__name__} cannot drive another: their states would have the same names")
        if isinstance(opt, Optimizer):
            if opt._released is not None:
                raise TypeError(f"{type(self).__name__} cannot drive a released optimizer; call remove() first")
            opt._driver = ref(self)
        self.__setstate__({"optimizer": opt, "state": defaultdict(dict), **own})

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The groups of the driven optimizer."""
        return self.optimizer.param_groups

    @property
    def defaults(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The defaults of the driven optimizer."""
        return dict(self.optimizer.defaults)

    @property
    def prefix(self) -> str:
        """How the names of its states begin in a state_dict."""
        return f"{type(self).__name__.lower()}."

    @property
    def params(self) -> list[Tensor]:
        """All parameters."""
        return [p for group in self.param_groups for p in group["params"]]

    def step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        """Make one step; the arguments are those of the driven optimizer."""
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the driven optimizer."""
        self.optimizer.add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False set them to zero."""
        self.optimizer.zero_grad(set_to_none)

    def to(self, device: torch.device | str | None = None) -> Self:
        """Move what it keeps, and the states of the driven optimizer, to a device; None: each beside its parameter."""
        driven = self.optimizer
        if isinstance(driven, Optimizer | Strategy):
            driven.to(device)
        for opt in (self, *([] if isinstance(driven, Optimizer | Strategy) else [driven])):
            for p, state in opt.state.items():
                to = p.device if device is None else device
                state.update({k: x.to(to) for k, x in state.items() if isinstance(x, Tensor) and k != "step"})
        return self

    def state_dict(self, **how: Any) -> dict[str, Any]:
        """As in torch: beside what the driven optimizer keeps for a parameter stands what the strategy keeps.

        how: what the state_dict() of the driven optimizer takes, such as decoded=True of ravine's.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        out = self.optimizer.state_dict(**how)
        state = dict(out["state"])
        for saved, group in zip(out["param_groups"], self.param_groups, strict=True):
            for i, p in zip(saved["params"], group["params"], strict=True):
                if own := self.state.get(p):
                    state[i] = {**state.get(i, {}), **{self.prefix + k: x for k, x in own.items()}}
        note = {name: getattr(self, name) for name in self.fields}
        groups = [{**group, type(self).__name__: dict(note)} for group in out["param_groups"]]
        out = {**out, "state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            made = hook(self, out)
            out = out if made is None else made
        return out

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what state_dict() gave, in the middle of a cycle too; raises ValueError where it is another's."""
        state_dict = dict(state_dict)
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            made = hook(self, state_dict)
            state_dict = state_dict if made is None else made
        name = type(self).__name__
        notes = [group.get(name) for group in state_dict["param_groups"]]
        if not notes or any(note is None or note.keys() != set(self.fields) for note in notes):
            raise ValueError(f"this is not a state_dict of {name}; give one of {type(self.optimizer).__name__} to that")
        states = state_dict["state"]
        inner = {i: {k: x for k, x in s.items() if not k.startswith(self.prefix)} for i, s in states.items()}
        groups = [{k: x for k, x in group.items() if k != name} for group in state_dict["param_groups"]]
        ordered = [self.order(saved, now) for saved, now in zip(groups, self.param_groups, strict=False)]
        own: dict[Tensor, dict[str, Any]] = {}
        for order, now in zip(ordered, self.param_groups, strict=False):  # the driven optimizer says what is wrong
            for i, p in zip(order, now["params"], strict=False):
                saved = states.get(i, {}).items()
                kept = {k.removeprefix(self.prefix): x for k, x in saved if k.startswith(self.prefix)}
                for k, x in kept.items():
                    if isinstance(x, Tensor) and x.shape != p.shape:
                        raise ValueError(f"{name}: {k} has shape {tuple(x.shape)} in the state_dict, not {p.shape}")
                own |= {p: {k: like(x, p) for k, x in kept.items()}} if kept else {}
        inner = {i: s for i, s in inner.items() if s}
        self.optimizer.load_state_dict({**state_dict, "state": inner, "param_groups": groups})
        self.__dict__.update(notes[0])
        self.state = defaultdict(dict, own)
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def order(self, saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[int]:
        """The saved numbers of this group's parameters: by name where the driven optimizer goes by names."""
        named = by_name(type(self).__name__, saved, now) if isinstance(driven(self)[-1], Optimizer) else {}
        return named.get("params", saved["params"])

    def __getstate__(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("optimizer", "state", *self.fields)}

    def __repr__(self) -> str:
        own = ", ".join(f"{k}={getattr(self, k)!r}" for k in self.fields)
        return f"{type(self).__name__}({own}) of {self.optimizer!r}"


def driven(opt: Any) -> list[Any]:
    """The optimizer, what it drives, and so on to the one that steps."""
    return [opt, *driven(opt.optimizer)] if isinstance(opt, Strategy) else [opt]


def like(x: Any, p: Tensor) -> Any:
    """A copy of a loaded value beside its parameter, in its own type."""
    if not isinstance(x, Tensor):
        return x
    return torch.empty_like(p, dtype=x.dtype, requires_grad=False).copy_(x)


def forward(opt: torch.optim.Optimizer, closure: Callable[[], Any] | None, loss: Any) -> Any:
    """A step of the driven optimizer, with the loss where it can be given one."""
    if isinstance(opt, Optimizer | Strategy) and loss is not None:
        return opt.step(closure, loss=loss)
    return opt.step(closure)
