"""Slow weights: what follows the weights of a driven optimizer every k steps, and is put in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.optimizer.load import other_mode
from ravine.optimizer.state import begins_only, set_weight, weight_of
from ravine.optimizer.untraced import untraced
from ravine.strategies.sam import SAM
from ravine.strategies.strategy import Strategy, forward


class SlowWeights(Strategy):
    """k steps of the driven optimizer; then the slow weights move, and the fast ones begin from them again.

    A subclass says with `outer` how they move, and with `begun` and `went_back` what else is kept for a parameter.
    """

    keeps = ("slow", "fast")

    k: int
    count: int  # steps since the fast weights began from the slow ones

    def outer(self, kept: dict[str, Any], fast: Tensor) -> Tensor:
        """Move kept["slow"] in place, given the fast weights, and return it."""
        raise NotImplementedError(f"{type(self).__name__} has no outer()")

    def begun(self, group: dict[str, Any], p: Tensor) -> dict[str, Tensor]:
        """What else to keep from the first step on."""
        return {}

    def went_back(self, group: dict[str, Any], p: Tensor) -> None:
        """What else to do when the fast weights begin again."""

    @classmethod
    def refuse_sam(cls, opt: torch.optim.Optimizer) -> None:
        """Raise TypeError where SAM is to be driven."""
        if isinstance(opt, SAM):
            name, sam = cls.__name__, type(opt).__name__
            raise TypeError(f"{name}: let {sam} drive it: {sam}({name}(opt)) is the same path")

    @untraced
    def step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        """A step of the driven optimizer, and after every k-th the step of the slow weights."""
        if any("fast" in kept for kept in self.kept.values()):
            raise RuntimeError(f"{type(self).__name__}: the model holds the slow weights; call train() before step()")
        begins = closure is None and begins_only(self)
        self.start()
        loss = forward(self.optimizer, closure, given)
        if begins:
            return loss
        self.count += 1
        if self.count >= self.k:
            self.back()
        self.note()
        return loss

    def agree(self, note: Mapping[str, Any], kept: Mapping[Tensor, Any]) -> None:
        if note["count"] and not kept:
            driven = type(self.optimizer).__name__
            raise ValueError(
                f"this is not a state_dict of {type(self).__name__}; if it is one of {driven}, load it into the "
                f"{driven} that is driven"
            )

    def same_mode(self, saved: Mapping[str, Any], p: Tensor, who: str) -> None:
        there, kept = "fast" in saved, self.kept.get(p)
        if kept and there != ("fast" in kept):
            raise ValueError(other_mode(f"{type(self).__name__}: the state of {who}", there))

    @torch.no_grad()
    def start(self) -> None:
        """Slow weights for parameters that have none yet, in float32 where the weights have further bits."""
        for group in self.param_groups:
            two = group.get("master_bits")
            for p in group["params"]:
                if p.requires_grad and "slow" not in self.kept[p]:
                    slow = weight_of(p, self.beside(p)).detach().clone(memory_format=torch.preserve_format)
                    slow = slow.float() if two and p.dtype == torch.bfloat16 else slow
                    self.kept[p].update({"slow": slow} | self.begun(group, p))

    def beside(self, p: Tensor) -> dict[str, Any]:
        """The state that may hold further bits of a weight; of other optimizers none does."""
        return self.optimizer.state.get(p, {}) if isinstance(self.optimizer, Optimizer) else {}

    @torch.no_grad()
    def back(self) -> None:
        """The slow weights move, and the fast ones begin from there."""
        self.count = 0
        for group in self.param_groups:
            for p in group["params"]:
                if "slow" in (kept := self.kept[p]):
                    set_weight(p, self.beside(p), self.outer(kept, weight_of(p, self.beside(p)).detach()))
                    self.went_back(group, p)

    @torch.no_grad()
    def eval(self) -> None:
        """Put the slow weights into the model. Call before validation."""
        for p in self.params:
            kept = self.kept.get(p, {})
            if "slow" in kept and "fast" not in kept:
                kept["fast"] = p.detach().clone(memory_format=torch.preserve_format)
                p.copy_(kept["slow"])

    @torch.no_grad()
    def train(self) -> None:
        """Put the fast weights back. Call after `eval()`, before the next step."""
        for p in self.params:
            if "fast" in self.kept.get(p, {}):
                p.copy_(self.kept[p].pop("fast"))
