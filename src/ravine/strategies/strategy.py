"""What every strategy shares: it is an optimizer for torch, has the groups of the one it drives, and saves as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, Literal, Self, overload
from weakref import ref

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.optimizer.load import Loaded, by_name, fits, load, matched, own
from ravine.optimizer.release import is_released
from ravine.optimizer.state import TYPES
from ravine.saved import told


class State(MutableMapping[str, Any]):
    """What a strategy and the optimizer that it drives keep for one parameter, under the names of the state_dict.

    An entry is written or deleted where it is kept: names that begin with the strategy's own are the strategy's, all
    others the driven optimizer's.
    """

    def __init__(self, strategy: Strategy, p: Any):
        self.strategy, self.p = strategy, p

    def joined(self) -> dict[str, Any]:
        """Both together, as a dict of its own."""
        prefix, inner = self.strategy.prefix, self.strategy.optimizer.state.get(self.p, {})
        return {**inner, **{prefix + k: x for k, x in self.strategy.kept.get(self.p, {}).items()}}

    def part(self, k: str) -> tuple[MutableMapping[str, Any], str]:
        """The dict that keeps an entry, and its name there."""
        if k.startswith(self.strategy.prefix):
            return self.strategy.kept[self.p], k.removeprefix(self.strategy.prefix)
        return self.strategy.optimizer.state[self.p], k

    def __getitem__(self, k: str) -> Any:
        return self.joined()[k]

    def __setitem__(self, k: str, x: Any) -> None:
        part, name = self.part(k)
        part[name] = x

    def __delitem__(self, k: str) -> None:
        if k not in self:
            raise KeyError(k)
        part, name = self.part(k)
        del part[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.joined())

    def __len__(self) -> int:
        return len(self.joined())

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def copy(self) -> dict[str, Any]:
        """As of a dict: another with the same tensors."""
        return self.joined()

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (self.joined(),)  # copy.deepcopy and pickle make a dict of it, and no second optimizer

    def __repr__(self) -> str:
        return repr(self.joined())


class States(MutableMapping[Any, MutableMapping[str, Any]]):
    """What a strategy and the optimizer that it drives keep for each parameter, under the names of the state_dict.

    Entries may be written and deleted, one by one or whole: `opt.state[p] = {…}`.
    """

    def __init__(self, strategy: Strategy):
        self.strategy = strategy

    def __getitem__(self, p: Any) -> State:
        return State(self.strategy, p)

    def __setitem__(self, p: Any, state: Mapping[str, Any]) -> None:
        inner, kept = taken_apart(self.strategy.prefix, state)
        self.strategy.optimizer.state[p], self.strategy.kept[p] = inner, kept

    def __delitem__(self, p: Any) -> None:
        if p not in self:
            raise KeyError(p)
        self.strategy.optimizer.state.pop(p, None)
        self.strategy.kept.pop(p, None)

    def __contains__(self, p: object) -> bool:
        return any(x is p for x in self)

    def __iter__(self) -> Iterator[Any]:
        return iter(dict.fromkeys([*self.strategy.optimizer.state, *(p for p, x in self.strategy.kept.items() if x)]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def driver(name: str, opt: object) -> None:
    """Raise TypeError where a strategy of this name is given something else than an optimizer."""
    if not isinstance(opt, torch.optim.Optimizer):
        given = f"the class {opt.__name__}" if isinstance(opt, type) else f"a {type(opt).__name__}"
        raise TypeError(f"{name} drives an optimizer, and was given {given}: "
                        f"write {name}(ravine.SGD(model.parameters(), …), …)")  # fmt: skip


class Strategy(torch.optim.Optimizer):
    """Drives an optimizer, `self.optimizer`: ravine's, torch's or another strategy.

    Groups are the driven optimizer's own, so schedules may be given either of the two. `state` and `state_dict()` have
    what both keep for a parameter, the strategy's under names that begin with its own, such as "lookahead.slow";
    `load_state_dict` takes it apart again.
    """

    papers: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ()  # what is saved of the strategy itself
    keeps: ClassVar[tuple[str, ...]] = ()  # what it may keep for a parameter: tensors of its shape

    optimizer: torch.optim.Optimizer
    kept: defaultdict[Tensor, dict[str, Any]]  # for each parameter, without the driven optimizer's

    def __init__(self, opt: torch.optim.Optimizer, **own: Any):
        driver(type(self).__name__, opt)
        if any(x.prefix == self.prefix for x in driven(opt) if isinstance(x, Strategy)):
            raise TypeError(f"{type(self).__name__} cannot drive another: their states would have the same names")
        if isinstance(opt, Optimizer):
            if is_released(opt):
                raise TypeError(f"{type(self).__name__} cannot drive a released optimizer; call remove() first")
            opt.driver = ref(self)
        self.__setstate__({"optimizer": opt, "kept": defaultdict(dict), **own})

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        """The strategy's own fields, or ValueError."""
        raise NotImplementedError(f"{cls.__name__} has no valid()")

    @property
    def state(self) -> States:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What both keep for each parameter."""
        return States(self)

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

    def step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        """Make one step; the arguments are those of the driven optimizer."""
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the driven optimizer."""
        self.optimizer.add_param_group(param_group)
        self.note()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False set them to zero."""
        self.optimizer.zero_grad(set_to_none)

    def to(self, device: torch.device | str | None = None) -> Self:
        """Move what it keeps, and the states of the driven optimizer, to a device; None: each beside its parameter."""
        driven = self.optimizer
        if isinstance(driven, Optimizer | Strategy):
            driven.to(device)
        for states in (self.kept, *([] if isinstance(driven, Optimizer | Strategy) else [driven.state])):
            for p, state in states.items():
                to = p.device if device is None else device
                state.update({k: x.to(to) for k, x in state.items() if isinstance(x, Tensor) and k != "step"})
        return self

    def state_dict(self, **how: Any) -> dict[str, Any]:
        """As in torch: beside what the driven optimizer keeps for a parameter stands what the strategy keeps.

        how: what the state_dict() of the driven optimizer takes, such as decoded=True of ravine's.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        self.note()
        out = self.optimizer.state_dict(**how)
        state = dict(out["state"])
        for saved, group in zip(out["param_groups"], self.param_groups, strict=True):
            for i, p in zip(saved["params"], group["params"], strict=True):
                if kept := self.kept.get(p):
                    state[i] = {**state.get(i, {}), **{self.prefix + k: x for k, x in kept.items()}}
        out = {**out, "state": state}
        for hook in self._optimizer_state_dict_post_hooks.values():
            made = hook(self, out)
            out = out if made is None else made
        return out

    def note(self) -> None:
        """Write the strategy's own fields into each group, where torch's distributed checkpoint looks for them, too."""
        for group in self.param_groups:
            group[type(self).__name__] = {name: getattr(self, name) for name in self.fields}

    @overload
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: Literal[True] = True) -> None: ...
    @overload
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: Literal[False]) -> Loaded: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Loaded | None:
        """Take over what state_dict() gave, in the middle of a cycle too.

        strict=False takes over the states that fit and returns what was left, as ravine's optimizers do; the strategy's
        own numbers stay as they are.

        Raises ValueError, and changes nothing, where it is another's.
        """
        return load(self, state_dict, self.load_all if strict else self.load_what_fits)

    def load_all(self, given: dict[str, Any]) -> None:
        """Take over all of a state_dict."""
        inner, own_part = self.split(given)
        note = self.noted(given["param_groups"])
        # the driven optimizer says what is wrong with the groups
        pairs = [
            (i, p, f"parameter {i}")
            for saved, now in zip(given["param_groups"], self.param_groups, strict=False)
            for i, p in zip(self.order(saved, now), now["params"], strict=False)
        ]
        new = {p: self.fit(own_part[i], p, who) for i, p, who in pairs if i in own_part}
        self.agree(note, new)
        self.optimizer.load_state_dict(inner)
        self.kept = defaultdict(dict, new)
        self.__dict__.update(note)
        self.note()
        self.loaded()

    def load_what_fits(self, given: dict[str, Any]) -> Loaded:
        """Take over the states that fit; the strategy's own numbers stay as they are."""
        if not isinstance(self.optimizer, Optimizer | Strategy):
            raise ValueError(
                f"{type(self).__name__}: strict=False is for ravine's optimizers, and it drives {type(self.optimizer)}"
            )
        inner, own_part = self.split(given)
        new, unfit = dict[str, tuple[Tensor, dict[str, Any]]](), dict[str, str]()
        for who, i, _, _, p in matched(given["param_groups"], self.param_groups):
            if p is None or i not in own_part:
                continue
            try:
                self.same_mode(own_part[i], p, who)
                new[who] = p, self.fit(own_part[i], p, who)
            except ValueError as error:
                unfit[who] = str(error)
                inner["state"].pop(i, None)
        report = self.optimizer.load_state_dict(inner, strict=False)
        report.unfit |= unfit
        for who, (p, kept) in new.items():
            if who not in report.unfit:
                self.kept[p] = kept
                if who in report.missing:
                    report.loaded.append(who)
        report.missing = [who for who in report.missing if who not in new and who not in unfit]
        self.note()
        self.loaded()
        return report

    def split(self, given: dict[str, Any]) -> tuple[dict[str, Any], dict[Any, dict[str, Any]]]:
        """The driven optimizer's part of a state_dict, and the strategy's for each parameter that has one."""
        name = type(self).__name__
        apart = {
            i: taken_apart(self.prefix, s) if isinstance(s, Mapping) else (s, {}) for i, s in given["state"].items()
        }
        groups = [{k: x for k, x in group.items() if k != name} for group in given["param_groups"]]
        inner = {**given, "state": {i: s for i, (s, _) in apart.items() if s}, "param_groups": groups}
        return inner, {i: kept for i, (_, kept) in apart.items() if kept}

    def loaded(self) -> None:
        """What is to do after a load, in the middle of a cycle too."""

    def noted(self, groups: list[dict[str, Any]]) -> dict[str, Any]:
        """The strategy's own fields in a state_dict; ValueError unless every group has the same."""
        name = type(self).__name__
        notes = [x for group in groups if isinstance(x := group.get(name), Mapping)]
        if not notes or len(notes) < len(groups) or any(x.keys() != set(self.fields) for x in notes):
            driven = type(self.optimizer).__name__
            raise ValueError(
                f"this is not a state_dict of {name}; if it is one of {driven}, load it into the {driven} that is "
                "driven"
            )
        found = [self.valid(note) for note in notes]
        if any(note != found[0] for note in found):
            raise ValueError(f"{name}: the groups in the state_dict have different {', '.join(self.fields)}")
        return found[0]

    def agree(self, note: Mapping[str, Any], kept: Mapping[Tensor, Any]) -> None:
        """Raise ValueError where its own fields and what it keeps for parameters are not of one state_dict."""

    def same_mode(self, saved: Mapping[str, Any], p: Tensor, who: str) -> None:
        """Raise ValueError where a state was saved after eval() and is to go on in training, or the other way round."""

    def fit(self, saved: Mapping[str, Any], p: Tensor, who: str) -> dict[str, Any]:
        """What the strategy keeps for a parameter, from a state_dict; ValueError where it is another's."""
        name, out = type(self).__name__, dict[str, Any]()
        for k, x in saved.items():
            if k not in self.keeps and not any(k.startswith(f"{x}.") for x in self.keeps):
                raise ValueError(f"this is not a state_dict of {name}: {who} has {told(self.prefix + k)}")
            what = f"{name}: {k} of {who}"
            if not isinstance(x, Tensor):
                raise ValueError(f"{what} is {told(x)} in the state_dict; it must be a tensor")
            fits(what, x, p, list(p.shape), TYPES, complex=p.is_complex())
            out[k] = own(what, x, p)
        return out

    def order(self, saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[int]:
        """The saved numbers of this group's parameters: by name where the driven optimizer goes by names."""
        named = by_name(type(self).__name__, saved, now) if isinstance(driven(self)[-1], Optimizer) else {}
        return named.get("params", saved["params"])

    def __getstate__(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("optimizer", "kept", *self.fields)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.note()

    def __repr__(self) -> str:
        own = ", ".join(f"{k}={getattr(self, k)!r}" for k in self.fields)
        return f"{type(self).__name__}({own}) of {self.optimizer!r}"


def driven(opt: Any) -> list[Any]:
    """The optimizer, what it drives, and so on to the one that steps."""
    return [opt, *driven(opt.optimizer)] if isinstance(opt, Strategy) else [opt]


def taken_apart(prefix: str, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The driven optimizer's part of a state, and the strategy's, whose names begin so."""
    inner = {k: x for k, x in state.items() if not k.startswith(prefix)}
    return inner, {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}


def forward(opt: torch.optim.Optimizer, closure: Callable[[], Any] | None, given: Mapping[str, Any]) -> Any:
    """A step of the driven optimizer, with the loss and other inputs where it can be given any."""
    given = {k: x for k, x in given.items() if x is not None}
    return opt.step(closure, **given) if isinstance(opt, Optimizer | Strategy) else opt.step(closure)
