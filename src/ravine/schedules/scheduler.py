"""Schedules in torch's training loop: a torch LRScheduler for any hyperparameter."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from ravine.compile.path import number_of, put
from ravine.optimizer import Optimizer
from ravine.rule.hyper import fields, integer
from ravine.saved import entries, python_number, told, whole
from ravine.schedules.plateau import Plateau
from ravine.schedules.schedule import Schedule
from ravine.typed import hint

Given = Schedule | Callable[[int], float]
TINY = sys.float_info.min  # 2e-308: it adds nothing to a float, and `if self.weight_decay:` takes it for a number


class Scheduler(LRScheduler):
    """Sets hyperparameters of an optimizer by schedules: lr, momentum, betas, weight decay, the noise of a modifier.

        >>> import ravine, torch
        >>> from ravine.mods import GradientNoise
        >>> from ravine.schedules import Cosine, Linear, Warmup
        >>> opt = ravine.AdamW([torch.nn.Parameter(torch.zeros(3))], lr=1e-3, mods=[GradientNoise(0.01)])
        >>> schedule = ravine.Scheduler(
        ...     opt,
        ...     lr=Warmup(10) * Cosine(100),
        ...     betas=(None, Linear(100).between(0.95, 0.999)),
        ...     weight_decay=Cosine(100).between(0.04, 0.4),
        ...     **{"mods.0.eta": Linear(100)},
        ... )
        >>> for _ in range(5):
        ...     opt.step()
        ...     schedule.step()
        >>> [round(x, 7) for x in schedule.get_last_lr()], opt.param_groups[0]["betas"]
        ([0.0005963], (0.9, 0.95245))

    optimizer: ravine's, torch's, or another that has param_groups.
    lr, and any other hyperparameter by its name: a schedule, or a function of the steps made so far. It multiplies what
        each group began with (a group's `initial_lr`, as in torch); one made with `.between()` gives values themselves.
        A tuple has a schedule for each place, or None to leave that alone; a list has one for each group. A number of
        a modifier is written "mods.0.eta", one place of a tuple "betas.1". `momentum` means β₁ in optimizers that have
        `betas` and no momentum.
    last_epoch: as torch's: −1 to begin; to go on after n steps n − 1, with an optimizer whose groups say what they
        began with. In both cases the constructor counts on by one.

    It is a torch LRScheduler: call `step()` after the optimizer's. Nothing is compiled again: numbers are no part of a
    program, but for whether one is zero, so a scheduled number is 2e-308 where it would be 0. That adds nothing and is
    not zero (lr, about which no rule asks, is left as it is). A tensor is filled in place. A group that is added later
    takes part from the next step() on. Schedulers that are chained set one hyperparameter one after the other, and the
    last counts: multiply the schedules instead.

    state_dict() has numbers only. load_state_dict() sets the hyperparameters too, for the same schedules: training goes
    on with the same bits.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, lr: Any = None, *, last_epoch: int = -1, **hyper: Any):
        if isinstance(optimizer, type):
            raise TypeError(f"Scheduler takes an optimizer, and this is the class {optimizer.__name__}; make one first")
        self.schedules: dict[str, Given | list[Given | None]] = {}
        for name, given in {"lr": lr, **hyper}.items():
            for path, schedule in spread(name, given).items():
                self.schedules[path] = schedule
        if isinstance(optimizer, torch.optim.Optimizer):  # else torch says so
            self.optimizer = optimizer
            for i, group in enumerate(optimizer.param_groups):
                for path in self.schedules:
                    if self._schedule(i, path) is not None:
                        self._base(group, path, fresh=last_epoch == -1)
        super().__init__(optimizer, integer("Scheduler: last_epoch", last_epoch))

    @property
    def base_lrs(self) -> list[Any]:
        """What the lr of each group began with; it is kept in the group."""
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    @base_lrs.setter
    def base_lrs(self, values: list[Any]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            group["initial_lr"] = value

    def get_lr(self) -> list[Any]:
        """The rate of each group after `last_epoch` steps."""
        chosen = [(self._schedule(i, "lr"), group) for i, group in enumerate(self.optimizer.param_groups)]
        return [group["lr"] if s is None else self._value(s, group, "lr") for s, group in chosen]

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._set()

    def _set(self) -> None:
        """Give every group its values after `last_epoch` steps."""
        for i, group in enumerate(self.optimizer.param_groups):
            for path in self.schedules:
                if (schedule := self._schedule(i, path)) is not None:
                    fill(group, place(group, path), self._value(schedule, group, path))
        self._last_lr = [copied(group["lr"]) for group in self.optimizer.param_groups]

    def _schedule(self, i: int, path: str) -> Given | None:
        """The schedule of group i."""
        schedule = self.schedules.get(path)
        if not isinstance(schedule, list):
            return schedule
        if len(schedule) != (groups := len(self.optimizer.param_groups)):
            raise ValueError(
                f"Scheduler: {path} has schedules for {len(schedule)} groups, and there are {groups}; "
                "give one for each, or one for all without a list"
            )
        return schedule[i]

    def _value(self, schedule: Given, group: dict[str, Any], path: str) -> Any:
        """What a hyperparameter of a group is to be after `last_epoch` steps."""
        base, s = self._base(group, path), python_number(schedule(self.last_epoch))
        if isinstance(schedule, Schedule) and schedule.absolute:
            return s or TINY if path != "lr" else s
        value = base * s
        return TINY if path != "lr" and s == 0 != base else value

    def _base(self, group: dict[str, Any], path: str, fresh: bool = True) -> Any:
        """What a hyperparameter of a group began with, which is noted there beside it."""
        note = f"initial_{path}"
        if note not in group:
            at = place(group, path)
            if not fresh:
                raise KeyError(
                    f"{note} is not in a group: to go on at last_epoch, load the optimizer's state_dict first"
                )
            try:
                value = number_of(group, at)
            except (KeyError, IndexError, AttributeError, TypeError) as error:
                numbers = [
                    k for k, x in group.items() if is_number(x) or (isinstance(x, tuple) and any(map(is_number, x)))
                ]
                raise ValueError(
                    f"Scheduler: a group has no '{path}': {hint(path, numbers)}It has {', '.join(numbers)}"
                ) from error
            opt = self.optimizer
            if not is_number(value) or (
                isinstance(opt, Optimizer) and fields(opt.rule_of(group)).get(at, (None,))[0] is int
            ):
                raise TypeError(f"Scheduler: {path} is {value!r}, and only numbers with a fraction are scheduled")
            group[note] = copied(value)
        return group[note]

    def report(self, metric: float | Tensor) -> None:
        """Tell every `Plateau` among the schedules a metric, and set what follows from it."""
        if not (plateaus := self._plateaus()):
            raise ValueError("Scheduler: report() is for schedules with a Plateau, and there is none")
        for plateau in plateaus:
            plateau.report(float(metric))
        self._set()

    def _plateaus(self) -> list[Plateau]:
        given = [x for s in self.schedules.values() for x in (s if isinstance(s, list) else [s])]
        parts = [part for s in given if isinstance(s, Schedule) for part in s.parts()]
        return list({id(x): x for x in parts if isinstance(x, Plateau)}.values())

    def state_dict(self) -> dict[str, Any]:
        """Steps made, and what plateaus remember. What hyperparameters began with is in the optimizer's groups."""
        kept = {k: self.__dict__[k] for k in ("last_epoch", "_step_count", "_last_lr")}
        return kept | {"plateaus": [dict(x.state) for x in self._plateaus()]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where state_dict() was taken, with the same schedules; sets the hyperparameters.

        Raises ValueError, and changes nothing, where it is another's.
        """
        plateaus, given = self._plateaus(), entries("Scheduler", state_dict, ("last_epoch", "_step_count", "plateaus"))
        if not isinstance(saved := given["plateaus"], list | tuple):
            raise ValueError(f"Scheduler: plateaus is {told(saved)} in the state_dict; it must be a list")
        if len(saved) != len(plateaus):
            raise ValueError(f"Scheduler: the state_dict is of {len(saved)} plateaus, and here are {len(plateaus)}")
        epoch, count = (whole(f"Scheduler: {k}", given[k]) for k in ("last_epoch", "_step_count"))
        new = [plateau.remembered(x) for plateau, x in zip(plateaus, saved, strict=True)]
        old = self.last_epoch, self._step_count, [dict(plateau.state) for plateau in plateaus]
        self._go_to(epoch, count, new)
        try:
            self._set()
        except (ArithmeticError, ValueError) as error:  # a schedule knows no such step
            self._go_to(*old)
            self._set()
            raise ValueError(f"Scheduler: at last_epoch {epoch} of the state_dict a schedule fails: {error}") from error

    def _go_to(self, epoch: int, count: int, plateaus: list[dict[str, Any]]) -> None:
        self.last_epoch, self._step_count = epoch, count
        for plateau, x in zip(self._plateaus(), plateaus, strict=True):
            plateau.state.update(x)

    def __repr__(self) -> str:
        return f"Scheduler({', '.join(f'{k}={x!r}' for k, x in self.schedules.items())})"


def spread(name: str, given: Any) -> dict[str, Any]:
    """{path: schedule} of what was given for a hyperparameter: each place of a tuple has a path of its own."""
    if isinstance(given, tuple):
        return {k: x for i, part in enumerate(given) for k, x in spread(f"{name}.{i}", part).items()}
    if isinstance(given, list) and any(isinstance(x, tuple) for x in given):
        places = max(len(x) for x in given if x is not None)
        columns = [[None if x is None else x[i] for x in given] for i in range(places)]
        return {k: x for i, part in enumerate(columns) if any(part) for k, x in spread(f"{name}.{i}", part).items()}
    for x in given if isinstance(given, list) else [given]:
        if isinstance(x, type):
            raise TypeError(f"Scheduler: {name} is the class {x.__name__}; make one: {x.__name__}(…)")
        if x is not None and not callable(x):
            raise TypeError(f"Scheduler: {name} is {x!r}; give a schedule, such as Cosine(1000), or a function of t")
    return {} if given is None else {name: given}


def place(group: Mapping[str, Any], path: str) -> str:
    """Where a group keeps what a path names: momentum is β₁ in optimizers that have no other."""
    return "betas.0" if path == "momentum" and "momentum" not in group and "betas" in group else path


def fill(group: dict[str, Any], path: str, value: Any) -> None:
    """Set a number of a group; a tensor is filled."""
    old = number_of(group, path)
    if isinstance(old, Tensor):
        old.copy_(value) if isinstance(value, Tensor) else old.fill_(value)
    else:
        put(group, path, value)


def copied(x: Any) -> Any:
    """A tensor of its own, or a plain number."""
    return x.detach().clone() if isinstance(x, Tensor) else python_number(x)


def is_number(x: Any) -> bool:
    """True for what a schedule can set."""
    return isinstance(x, float | int | Tensor) and not isinstance(x, bool)
