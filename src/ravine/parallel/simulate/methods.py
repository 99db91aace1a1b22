"""What is to be compared: which rule moves the parameters, and how workers reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.parallel.placement import How
from ravine.parallel.server.admit import Policy
from ravine.parallel.server.planned import Named, Planned, planned
from ravine.parallel.simulate.agents import Hire
from ravine.parallel.workers import Downpour
from ravine.saved import whole

Made = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Asynchronous:
    """Workers that do not wait for each other, around shards with any rule.

        Asynchronous("sgd:lr=0.1", admit=[Finite(), StalenessLR()])
        Asynchronous(partial(ElasticCenter, alpha=0.1),
                     lambda server, params: AsyncElasticAveraging(server, ravine.SGD(params, lr=0.1)))

    rule, admit, shards, placement: as of `ParameterServer`.
    worker: makes one of `ravine.parallel`'s workers of a handle and a list of parameters; None: the plain one, which
        reads, computes there and pushes, as Downpour does with n_push = n_fetch = 1.
    """

    rule: str | Made
    worker: Hire | None = None
    admit: Sequence[Policy] = ()
    shards: int = 1
    placement: How = "greedy"
    name: str = "asynchronous"

    def planned(self, initial: Sequence[Tensor]) -> Planned:
        """The shards as they begin."""
        more: dict[str, Any] = {"shards": self.shards, "placement": self.placement, "admit": self.admit}
        return planned(initial, self.rule, **more, who="Asynchronous")

    def hire(self) -> Hire | None:
        """What makes its workers; None: the plain one, for which shards must be one."""
        if self.worker is None and self.shards > 1:
            return lambda server, params: Downpour(server, torch.optim.SGD(params, lr=0.0))
        return self.worker


@dataclass(frozen=True)
class Synchronous:
    """Rounds: all workers begin at the same parameters, and the mean of what they found makes one step of the rule.

        Synchronous("sgd:lr=0.1")                                                    synchronous SGD
        Synchronous("sgd:lr=0.1", wait_for=90)                                       with backup workers
        Synchronous("sgd:lr=1.0", local="sgd:lr=0.1", sync_every=10)                 LocalSGD
        Synchronous("nag:lr=0.7,momentum=0.9", local="adamw:lr=1e-3", sync_every=50) DiLoCo

    wait_for: how many of the workers a round waits for; what the others compute is dropped, and they begin the next
        round with the rest. None: all. A worker that dies is given up `Failures.resend` seconds after the last of the
        others has come.
    admit: policies that look at the mean; with Finite() a worker leaves itself out whose gradient is not finite.
    local: an optimizer that makes `sync_every` steps on each worker's copy, whose state stays there; what is sent is
        how far they came. None: a gradient is sent.

    Backup workers: Chen et al. 2016, https://arxiv.org/abs/1604.00981; K of n: Dutta et al. 2018,
    https://arxiv.org/abs/1803.01113; LocalSGD: Stich 2019, https://arxiv.org/abs/1805.09767; DiLoCo: Douillard et al.
    2023, https://arxiv.org/abs/2311.08105
    """

    rule: str | Made
    wait_for: int | None = None
    local: str | Made | None = None
    sync_every: int = 1
    admit: Sequence[Policy] = ()
    name: str = "synchronous"

    def __post_init__(self):
        whole("Synchronous: sync_every", self.sync_every, 1, where="")
        if self.wait_for is not None:
            whole("Synchronous: wait_for", self.wait_for, 1, where="")
        if self.local is None and self.sync_every > 1:
            raise ValueError("Synchronous: sync_every needs local, the optimizer of the steps between")

    def planned(self, initial: Sequence[Tensor]) -> Planned:
        """The parameters as they begin, on one shard."""
        return planned(initial, self.rule, admit=self.admit, who="Synchronous")

    def inner(self, params: list[nn.Parameter]) -> torch.optim.Optimizer | None:
        """The optimizer of a worker's copy."""
        if self.local is None:
            return None
        return Named(self.local)(params) if isinstance(self.local, str) else self.local(params)


Method = Asynchronous | Synchronous
