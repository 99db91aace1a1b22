"""A parameter that moves by itself: its step, and where its sums over all tensors come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ravine.compile.launch.look import Contents
from ravine.optimizer.exchange import GivenUp, Round
from ravine.optimizer.step import Step

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer


@dataclass(eq=False)
class Pass:
    """A backward pass that measures."""

    kept: dict[Tensor, Tensor]  # the gradients that had accumulated before
    sums: dict[str, float]  # what is known, by mark
    parts: defaultdict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))  # by mark and place
    wanted: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # places, by mark
    seen: list[Any] = field(default_factory=list[Any])


class Alone(Step):
    """A step of one parameter by itself."""

    def __init__(self, opt: Optimizer, i: int, group: dict[str, Any], p: Tensor, g: Tensor):
        super().__init__(opt, [(i, group, p, g)], [group])
        self.place, self.p, self.state = i, p, opt.state[p]
        self.contents = Contents([self.state])
        (self.batch,) = self.batches

    def holds(self, opt: Optimizer, i: int, group: dict[str, Any]) -> bool:
        """True if the launch is still right."""
        return i == self.place and opt.state.get(self.p) is self.state and self.right(opt, [group])

    def step(
        self, g: Tensor, exchange: Previous | Measured, given: Mapping[str, float], found: Mapping[str, float]
    ) -> None:
        """New values for this one; none, and nothing has changed, where a sum is not known.

        found: the shared numbers as this step found them, where others have already moved.
        """
        self.batch.found = found
        self.batch.prepare([g], given)
        with suppress(GivenUp):
            self.run(exchange)


@dataclass
class Previous:
    """The exchange of a parameter that moves: sums of the step before, or what has arrived so far where that is more.
    A parameter whose step was measured takes the sums that were found."""

    place: int
    exact: bool  # its step was measured
    sums: Mapping[str, float]  # what is known, by mark
    parts: defaultdict[str, dict[int, float]]  # of this step: by mark and place
    so_far: defaultdict[str, float]  # and added up

    def __call__(self, now: Round) -> None:
        for batch, reduce in now.arrived:
            found = dict[str, float]()
            for mark, own in batch.parts(reduce).items():
                self.parts[mark][self.place] = own
                self.so_far[mark] += own
                known = self.sums[mark] if self.exact else max(self.sums.get(mark, own), self.so_far[mark])
                found[mark] = known
            batch.take(found)


@dataclass
class Measured:
    """The exchange of a parameter that is measured: it leaves its part of sums, and gives up its step at the first sum
    that is not yet known."""

    place: int
    now: Pass

    def __call__(self, now: Round) -> None:
        for batch, reduce in now.arrived:
            for mark, own in batch.parts(reduce).items():
                if mark not in self.now.sums:
                    self.now.parts[mark][self.place] = own
            if not self.now.sums.keys() >= {*reduce.marks}:
                raise GivenUp
            batch.take({mark: self.now.sums[mark] for mark in reduce.marks})
