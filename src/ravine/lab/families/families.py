"""The families of parallel training that `ravine compare --parallel` knows, and what each makes of an optimizer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ravine.parallel import (
    AsyncDiLoCo,
    AsyncElasticAveraging,
    DelayedNesterov,
    DiLoCo,
    Downpour,
    ElasticCenter,
    LocalSGD,
)

Opt = torch.optim.Optimizer
Make = Callable[[list[Any]], Opt]  # an optimizer of parameters


@dataclass(frozen=True)
class Family:
    """about: in a few words. worker: what a worker's own optimizer becomes, given H and what reaches a server, if there
    is one. rule: what the server does, given the optimizer that was asked for and the number of workers; None for
    families without a server, whose workers are a process group. local: whether workers make H steps by themselves."""

    about: str
    worker: Callable[[Opt, int, Any], Opt]
    rule: Callable[[Make, int], Make] | None = None
    local: bool = False


FAMILIES = {
    "serial": Family("one worker with all batches", lambda opt, every, server: opt),
    "sync": Family("gradients are averaged at every step (DDP)", lambda opt, every, server: opt),
    "localsgd": Family(
        "weights are averaged every H steps", lambda opt, every, server: LocalSGD(opt, sync_every=every), local=True
    ),
    "diloco": Family(
        "every H steps Nesterov's momentum with what they moved",
        lambda opt, every, server: DiLoCo(opt, sync_every=every),
        local=True,
    ),
    "downpour": Family(
        "a server applies each worker's gradient as it comes",
        lambda opt, every, server: Downpour(server, opt),
        rule=lambda make, workers: make,
    ),
    "easgd": Family(
        "each is tied to a center, every H steps",
        lambda opt, every, server: AsyncElasticAveraging(server, opt, sync_every=every),
        rule=lambda make, workers: partial(ElasticCenter, alpha=0.9 / workers),
        local=True,
    ),
    "async-diloco": Family(
        "DiLoCo without waiting: a server applies what each has moved",
        lambda opt, every, server: AsyncDiLoCo(server, opt, sync_every=every),
        rule=lambda make, workers: partial(DelayedNesterov, every=workers),
        local=True,
    ),
}
