"""What the methods with local steps share: how they begin alike, step, count, and when they meet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.compile.geometry import local
from ravine.optimizer import Optimizer
from ravine.optimizer.state import begins_only, movable, set_weight, weight_of
from ravine.optimizer.untraced import untraced
from ravine.parallel.sync.workers import Workers
from ravine.strategies.strategy import Strategy, driver, forward


class LocalSteps(Strategy):
    """Every worker steps for itself, and they exchange what they have every so many steps.

    A subclass says with `travel` what happens around and after a local step. Steps are counted by calls of `step()`,
    also of those that a GradScaler or nonfinite="skip" makes empty, and all parameters that require a gradient are
    exchanged, whether they have one or not: so workers cannot fall out of step.

    At the first step the workers make sure that they are alike: they compare shapes and settings, and all but the first
    take over the first one's weights.
    """

    _step_supports_amp_scaling = True  # GradScaler then calls step() in any case: the others wait for this worker

    workers: Workers
    count: int  # steps so far
    alike: bool  # whether the workers have made sure that they are, since this object was made or loaded

    def __init__(self, optimizer: torch.optim.Optimizer, process_group: Any, **own: Any):
        name = type(self).__name__
        driver(name, optimizer)
        if sharded := [p for group in optimizer.param_groups for p in group["params"] if local(p) is not p]:
            raise TypeError(
                f"{name}: a parameter of shape {tuple(sharded[0].shape)} is a DTensor, a shard of a larger model; "
                f"{name} averages whole models: use DDP's or no wrapper within a worker"
            )
        super().__init__(optimizer, workers=Workers(name, process_group), alike=False, count=0, **own)

    @property
    def sent_bytes(self) -> int:
        """The bytes that this process has handed to collectives so far."""
        return self.workers.sent_bytes

    @property
    def moving(self) -> list[Tensor]:
        """The parameters that are exchanged: all that require a gradient and may move."""
        return [p for p in self.params if p.requires_grad and movable(p)]

    @untraced
    def step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        """A step of the driven optimizer, and an exchange where one is due. Every worker must call it equally often."""
        if any("own" in kept for kept in self.kept.values()):
            raise RuntimeError(
                f"{type(self).__name__}: the model holds what eval() put there; call train() before step()"
            )
        if closure is None and begins_only(self) and all(p.grad is not None for p in self.moving):
            return forward(self.optimizer, None, given)
        self.start()
        loss = self.travel(lambda: self.inner(closure, given))
        self.note()
        return loss

    def travel(self, inner: Callable[[], Any]) -> Any:
        """The local step, `inner()`, which gives the loss; the count; and the exchange where one is due."""
        raise NotImplementedError(f"{type(self).__name__} has no travel()")

    def inner(self, closure: Callable[[], Any] | None, given: Mapping[str, Any]) -> Any:
        """A step of the driven optimizer, unless GradScaler has found an infinity: then nothing moves here."""
        if getattr(self, "found_inf", 0):  # GradScaler leaves these here while it calls step()
            return None
        if (scale := getattr(self, "grad_scale", None)) is not None:
            for p in self.params:
                if p.grad is not None:
                    p.grad.div_(scale.to(p.device))
        return forward(self.optimizer, closure, given)

    # how they begin

    @torch.no_grad()
    def start(self) -> None:
        """At the first step: compare, take over the first worker's weights, and begin what is kept."""
        if not self.alike:
            fresh = not self.count
            if self.workers.compare:
                self.same(fresh)
                if fresh:
                    self.take_first()
            self.alike = True
        self.begin()

    def take_first(self) -> None:
        """Take over the first worker's weights."""
        weights = self.weights()
        self.workers.copy_first([*weights.values(), *(p for p in self.params if movable(p) and p not in weights)])
        for p, x in weights.items():
            self.put(p, x)

    def begin(self) -> None:
        """Begin what is kept for parameters that have nothing yet."""

    def lacking(self, key: str) -> dict[Tensor, Tensor]:
        """The weights of the parameters for which nothing is kept under this name: after the first step those of a new
        group, which are the first worker's too, and those that were frozen."""
        if all(key in self.kept[p] for p in self.moving):
            return {}
        new = {p: x for p, x in self.weights().items() if key not in self.kept[p]}
        if self.workers.compare and self.count:
            self.workers.copy_first(list(new.values()))
            for p, x in new.items():
                self.put(p, x)
        return new

    def same(self, fresh: bool) -> None:
        """Raise ValueError on all workers where one has other parameters, other settings or another count."""
        params = [p for p in self.params if movable(p)]
        facts = {
            "parameters": len(params),
            "parameters that require a gradient": len(self.moving),
            "numbers in them": sum(p.numel() for p in params),
            "steps so far": self.count,
            "shapes and types": mark([(tuple(p.shape), p.dtype, p.requires_grad) for p in params]),
            "settings": mark([type(self).__name__, type(self.optimizer).__name__, self.settings()]),
        }
        device = params[0].device if params else torch.device("cpu")
        ends = self.workers.largest([x for fact in facts.values() for x in (fact, -fact)], device)
        for i, (what, here) in enumerate(facts.items()):
            most, least = ends[2 * i], -ends[2 * i + 1]
            if most == least:
                continue
            if what in ("shapes and types", "settings"):
                said = f"this one has {[tuple(p.shape) for p in params][:8] if what[1] == 'h' else self.settings()}"
            else:
                said = f"from {least} to {most}, and {here} here"
            raise ValueError(
                f"{type(self).__name__}: the {self.workers.size} workers differ in their {what}: {said} (worker "
                f"{self.workers.rank}). All need the same model and settings"
                + ("" if fresh and what != "steps so far" else ", and a checkpoint of the same step or none")
            )

    def settings(self) -> dict[str, Any]:
        """What all workers must be given alike."""
        return {k: getattr(self, k) for k in self.fields if k != "count"}

    # weights with all the bits they have

    def beside(self, p: Tensor) -> dict[str, Any]:
        """The state that may hold further bits of a weight; of other optimizers none does."""
        return self.optimizer.state.get(p, {}) if isinstance(self.optimizer, Optimizer) else {}

    def weights(self) -> dict[Tensor, Tensor]:
        """Each parameter that is exchanged with its weights: in float32 where bfloat16 ones may have further bits."""
        out = dict[Tensor, Tensor]()
        for group in self.param_groups:
            for p in group["params"]:
                if p.requires_grad and movable(p):
                    x = weight_of(p, self.beside(p)).detach()
                    out[p] = x.float() if group.get("master_bits") and p.dtype == torch.bfloat16 else x
        return out

    def put(self, p: Tensor, x: Tensor) -> None:
        """Set a weight, and the bits that it has beside it."""
        set_weight(p, self.beside(p), x)

    # what the model shows

    @torch.no_grad()
    def show(self, shown: Mapping[Tensor, Tensor]) -> None:
        """Put other weights into the model, and keep its own."""
        for p, x in shown.items():
            if "own" not in self.kept[p]:
                self.kept[p]["own"] = p.detach().clone(memory_format=torch.preserve_format)
                p.copy_(x)

    @torch.no_grad()
    def train(self) -> None:
        """Put the worker's own weights back. Call after `eval()`, before the next step."""
        for p in self.params:
            if "own" in self.kept.get(p, {}):
                p.copy_(self.kept[p].pop("own"))

    # saved and copied

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the driven optimizer, on every worker before the same step."""
        super().add_param_group(param_group)
        self.alike = False

    def agree(self, note: Mapping[str, Any], kept: Mapping[Tensor, Any]) -> None:
        """A saved count of steps at which something is kept, and nothing kept, is another's."""
        if note["count"] and self.keeps and not kept:
            driven = type(self.optimizer).__name__
            raise ValueError(
                f"this is not a state_dict of {type(self).__name__}; if it is one of {driven}, load it into the "
                f"{driven} that is driven"
            )

    def loaded(self) -> None:
        self.alike = False

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"workers": self.workers, "alike": False}


def mark(x: Sequence[Any]) -> int:
    """A number of 62 bits that is another for other contents."""
    return int.from_bytes(hashlib.blake2b(repr(x).encode(), digest_size=8).digest()) >> 2
