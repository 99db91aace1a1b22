"""LocalSGD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ravine.optimizer import Optimizer
from ravine.parallel.sync.local_steps import LocalSteps
from ravine.rule.hyper import integer, value_of
from ravine.saved import told, whole


class LocalSGD(LocalSteps):
    """Workers step alone, and every H steps their weights become the mean of all.

        θᵢ ← A(θᵢ, gᵢ)                each worker i of n, with its own batches and optimizer A
        θᵢ ← (θ₁ + … + θₙ) / n        after steps 1, 2, …, w, and then after steps w + H, w + 2H, …

        >>> import torch, ravine
        >>> from ravine.parallel import LocalSGD
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = LocalSGD(ravine.SGD(model.parameters(), lr=0.1, momentum=0.9), sync_every=8)
        >>> model(torch.ones(2, 3)).pow(2).sum().backward()
        >>> opt.step()

    Use it when the exchange at each step takes most of the time, and workers are few or H is small; `DiLoCo` tolerates
    a larger H. An exchange is one all-reduce of the weights; between exchanges it needs no further memory.

    sync_every: H; it has no default, since it depends on the network and the task. With H = 1 and SGD, with momentum
        too, it is SGD with the gradients of all workers averaged. For rules that are not linear in g, such as Adam's,
        only DDP gives that.
    warmup: w steps with H = 1 at first. w > 0 is post-local SGD; in the paper w ends at the first decay of the rate.
    average_state: average also the states of A that have the shape of the weights, such as momentum. False, as in both
        papers and in torch: each worker keeps its momentum, and only weights are sent. States in 8-bit codes cannot be
        averaged. A state that some worker does not have yet is not averaged.
    process_group: see `ravine.parallel.sync.workers.Workers`. One process alone is A.

    Between exchanges the model holds the worker's own weights. After the last step, call `meet()` on all workers to
    have the mean.

    A weight that is NaN on one worker is NaN on all after the next exchange. Give A nonfinite="skip", or use a
    GradScaler: then a worker whose gradient is not finite skips that step, and stays in time with the others. Buffers
    of the model, such as the statistics of batch norm, are not averaged; `recompute_batch_norm` computes them again.
    Under torchft, an exchange that loses a worker is not used: each worker keeps its weights until the next.

    Stich 2019, Algorithm 1    https://arxiv.org/abs/1805.09767
    Post-local SGD: Lin, Stich, Patel & Jaggi 2020    https://arxiv.org/abs/1808.07217
    """

    papers = ("stich2019local", "lin2020dont")
    fields = ("sync_every", "warmup", "average_state", "count")

    sync_every: int
    warmup: int
    average_state: bool

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        sync_every: int,
        warmup: int = 0,
        average_state: bool = False,
        process_group: Any = None,
    ):
        own = {
            "sync_every": integer("LocalSGD: sync_every", sync_every),
            "warmup": integer("LocalSGD: warmup", warmup),
            "average_state": value_of("LocalSGD: average_state", bool, average_state),
        }
        own = self.valid({**own, "count": 0})
        refuse_codes(own["average_state"], optimizer)
        super().__init__(optimizer, process_group, **{k: x for k, x in own.items() if k != "count"})

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(note["average_state"], bool):
            raise ValueError(f"LocalSGD: average_state is {told(note['average_state'])}; it must be True or False")
        return {
            "sync_every": whole("LocalSGD: sync_every", note["sync_every"], 1, where=""),
            "warmup": whole("LocalSGD: warmup", note["warmup"], where=""),
            "average_state": note["average_state"],
            "count": whole("LocalSGD: count", note["count"], where=""),
        }

    def travel(self, inner: Callable[[], Any]) -> Any:
        loss = inner()
        self.count += 1
        if self.count <= self.warmup or (self.count - self.warmup) % self.sync_every == 0:
            self.meet()
        return loss

    @torch.no_grad()
    def meet(self) -> None:
        """Every worker's weights become the mean of all. All workers must call it, after the same step."""
        self.workers.gather()
        weights, states = self.weights(), self.shared() if self.average_state else []
        means = self.workers.mean([*weights.values(), *states])
        if self.workers.agreed():
            for p, mean in zip(weights, means, strict=False):
                self.put(p, mean)
            for x, mean in zip(states, means[len(weights) :], strict=True):
                x.copy_(mean)

    def shared(self) -> list[Tensor]:
        """The states of the driven optimizer that have the shape of their weights, where all workers have them."""
        names = [sorted(k for k, x in self.optimizer.state.get(p, {}).items() if shaped(k, x, p)) for p in self.moving]
        counts = [len(x) for x in names]
        if self.workers.compare and counts:
            ends = self.workers.largest([*counts, *(-x for x in counts)], self.moving[0].device)
            same = [most == -least for most, least in zip(ends[: len(counts)], ends[len(counts) :], strict=True)]
            names = [x if alike else [] for x, alike in zip(names, same, strict=True)]
        return [self.optimizer.state[p][k] for p, x in zip(self.moving, names, strict=True) for k in x]

    def eval(self) -> None:
        """The driven optimizer's `eval()`, where it has one."""
        getattr(self.optimizer, "eval", lambda: None)()

    def train(self) -> None:
        """The driven optimizer's `train()`, where it has one."""
        getattr(self.optimizer, "train", lambda: None)()

    def agree(self, note: Mapping[str, Any], kept: Mapping[Tensor, Any]) -> None:
        super().agree(note, kept)
        refuse_codes(note["average_state"], self)


def shaped(k: str, x: Any, p: Tensor) -> bool:
    """True for a state of the weight's shape, beside it, that is numbers and no count; a scalar's counts are too."""
    counts = ("step", "eta", "mu", "mu_product")
    beside = isinstance(x, Tensor) and x.shape == p.shape and x.device == p.device and k not in counts
    return beside and (x.is_floating_point() or x.is_complex())


def refuse_codes(average_state: bool, opt: torch.optim.Optimizer) -> None:
    """Raise ValueError where states are to be averaged that are codes."""
    groups = opt.param_groups if isinstance(opt, torch.optim.Optimizer | Optimizer) else []
    if average_state and any(group.get("storage") == "int8" for group in groups):
        raise ValueError('LocalSGD: states in 8-bit codes cannot be averaged; leave out storage="int8"')
