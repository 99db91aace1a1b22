"""The step count of parameters that have moved together, with the other numbers that the host keeps for them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import TypeGuard

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from ravine.saved import MOST, has_memory, python_number, told


def is_number(x: object) -> TypeGuard[float]:
    """True for a number that a float can hold."""
    return isinstance(x, float) or (isinstance(x, int) and not isinstance(x, bool) and abs(x) <= MOST)


def number(
    what: str, x: object, where: str = "its state", wanted: str = "one number, as a float64 holds it exactly"
) -> float:
    """A number of the host from a state, or one clear error."""
    x = python_number(x)
    if isinstance(x, torch.Tensor):
        if x.numel() == 1 and has_memory(x) and not x.is_complex() and x.dtype != torch.bool:
            with unset_fake_temporarily():
                return float(x.detach())
    elif is_number(x):
        return float(x)
    raise ValueError(f"{what} is {told(x)} in {where}; it must be {wanted}")


def count(what: str, x: object, where: str = "its state") -> float:
    """A step count from a state, or one clear error."""
    wanted = "a whole number from 0 to 2**53 - 1"
    made = number(what, x, where, wanted)
    if not 0 <= made < MOST or made != int(made):
        raise ValueError(f"{what} is {made:.17g} in {where}; it must be {wanted}")
    return made


def number_as_tensor(what: str, x: object, device: torch.device | str) -> torch.Tensor:
    """A number as a 0-d tensor that has memory there: the given one, if it is of that kind."""
    with unset_fake_temporarily():  # the host counts also where tensors are fake
        made = torch.tensor(number(what, x), dtype=torch.float64, device=device)
    if type(x) is torch.Tensor and (x.shape, x.dtype, x.device) == (made.shape, made.dtype, made.device):
        return x
    return made


def in_common(x: object) -> TypeGuard[torch.Tensor]:
    """True for a number that lies in memory of several processes, which all count in it: it stays where it is."""
    return type(x) is torch.Tensor and x.device.type == "cpu" and x.is_shared()


class Clock:
    """0-d tensors that stand in the state of every parameter of the clock: one write moves all their counts.

    All are float64, so that a run continues bit for bit after a checkpoint and a count stays exact: in float32, as in
    torch, it stands still at 2²⁴. `shared` are those that all clocks of an optimizer have in common.
    device: where steps are made that the host has no part in; it cannot read such a clock.

    A count that several processes have in common (`in_common`) moves on by one from what it is when a step ends, so
    that it counts the steps of all; only where two write it at the same moment is one of them lost.
    """

    def __init__(
        self,
        step: float | torch.Tensor,
        numbers: Mapping[str, float | torch.Tensor],
        shared: Mapping[str, torch.Tensor],
        device: torch.device | str = "cpu",
    ):
        self.in_common = False
        own = {"step": step, **numbers}
        self.tensors = {k: number_as_tensor(k, x, device) for k, x in own.items()} | dict(shared)
        self.find()

    def find(self) -> None:
        """Find where the numbers lie: `.data =`, `share_memory_()` and their kind move a tensor of a state."""
        if self.tensors["step"].device.type == "cpu":  # elsewhere what moves the count is there too
            found = {k: ctypes.c_double.from_address(x.data_ptr()) for k, x in self.tensors.items()}
            self._step, self._numbers = found.pop("step"), found
            self.in_common = in_common(self.tensors["step"])

    @property
    def step(self) -> float:
        """How many steps have been made."""
        return self._step.value

    @property
    def numbers(self) -> dict[str, float]:
        """The rule's own numbers, by their keys in the state."""
        return {k: x.value for k, x in self._numbers.items()} if self._numbers else {}

    def set(self, step: float, numbers: Mapping[str, float]) -> None:
        """Move on, for every parameter of the clock at once."""
        self._step.value = self._step.value + 1 if self.in_common else step
        for k, x in numbers.items():
            self._numbers[k].value = x
