"""The step count of parameters that have moved together, with the other numbers that the host keeps for them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import torch


class Clock:
    """0-d tensors that stand in the state of every parameter of the clock: one write moves all their counts.

    `step` is float32 as in torch; a rule's own numbers (NAdam's product of momenta) are float64, so that a
    run continues bit for bit after a checkpoint. `shared` are those that all clocks of an optimizer have in common.
    device: where steps are made that the host has no part in; it cannot read such a clock.
    """

    def __init__(
        self,
        step: float,
        numbers: Mapping[str, float],
        shared: Mapping[str, torch.Tensor],
        device: torch.device | str = "cpu",
    ):
        self.tensors = {"step": torch.tensor(step, dtype=torch.float32, device=device)}
        self.tensors |= {k: torch.tensor(x, dtype=torch.float64, device=device) for k, x in numbers.items()}
        self.tensors |= shared
        if self.tensors["step"].device.type != "cpu":  # what moves it is there too
            return
        self._step = ctypes.c_float.from_address(self.tensors["step"].data_ptr())
        kept = [k for k in self.tensors if k != "step"]
        self._numbers = {k: ctypes.c_double.from_address(self.tensors[k].data_ptr()) for k in kept}

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
        self._step.value = step
        for k, x in numbers.items():
            self._numbers[k].value = x
