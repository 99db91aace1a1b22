"""What a source is: it gives a rule what the rule's `update` takes beside s, p, g and t."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor

Given = float | Tensor | Mapping[Tensor, Tensor]  # a number, or an array for each parameter


class Source:
    """Gives inputs to one optimizer, as `sources=[Hutchinson(every=10)]`; those of `ravine.sources` are examples.

    Subclass it for your own: set `gives`, the names of the inputs, and write `give`. It is asked once in a step that is
    `due`, before anything moves. What it gave is kept until it gives again, and saved with the states.
    """

    gives: Sequence[str] = ()
    keeps: Sequence[str] = ()  # keys of tensors that it lays into `opt.state[p]` itself, for checkpoints
    every: int = 1

    def __init__(self, every: int = 1):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(
                f"{type(self).__name__}: every is {every!r}; it must be a whole number of steps, 1 or more"
            )
        self.every = every

    _owner: ref[torch.optim.Optimizer] | None = None

    def watch(self, opt: torch.optim.Optimizer) -> None:
        """Belong to this optimizer, which calls it. Raises where it belongs to another that is alive."""
        owner = None if self._owner is None else self._owner()
        if owner is not None and owner is not opt:
            raise ValueError(f"{type(self).__name__} gives to another optimizer already; make one for each")
        self._owner = ref(opt)

    @property
    def params(self) -> list[Tensor]:
        """All parameters of its optimizer."""
        owner = None if self._owner is None else self._owner()
        return [] if owner is None else [p for group in owner.param_groups for p in group["params"]]

    @property
    def steps(self) -> int:
        """How many steps its optimizer has made; a checkpoint brings them along."""
        owner = None if self._owner is None else self._owner()
        states = () if owner is None else owner.state.values()
        return next((int(state["step"]) for state in states if "step" in state), 0)

    @property
    def due(self) -> bool:
        """True if the next step takes new values: the first, and every `every`-th after it."""
        return self.steps % self.every == 0

    def give(self, wanted: Mapping[str, Sequence[Tensor]]) -> Mapping[str, Given]:
        """The values of this step, by name: a number, or {parameter: array}.

        wanted: for each name of an array, the parameters with a gradient whose rule takes it; none for a number.
        """
        raise NotImplementedError(f"{type(self).__name__} has no give()")

    def begin(self) -> None:
        """Lay zeros where it keeps something, for a checkpoint to load into."""

    def remove(self) -> None:
        """Take its hooks away from the model, if it has any."""

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of: it belongs to no optimizer."""
        return {k: x for k, x in vars(self).items() if k != "_owner"}
