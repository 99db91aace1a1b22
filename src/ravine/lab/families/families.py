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
from ravine.typed import hint, plain

from ..errors import LabError

Opt = torch.optim.Optimizer
Make = Callable[[list[Any]], Opt]  # an optimizer of parameters


def alone(opt: Opt, every: int, server: Any) -> Opt:
    """A worker's optimizer as it is."""
    return opt


@dataclass(frozen=True)
class Family:
    """worker: what a worker's own optimizer becomes, given H and what reaches a server, if there is one. rule: what the
    server does, given the optimizer that was asked for and the number of workers; None for families without a server,
    whose workers are a process group. local: whether workers make H steps by themselves."""

    worker: Callable[[Opt, int, Any], Opt] = alone
    rule: Callable[[Make, int], Make] | None = None
    local: bool = False


FAMILIES = {
    "serial": Family(),  # one worker with all batches
    "sync": Family(),  # gradients are averaged at every step: DDP
    "local-sgd": Family(lambda opt, every, server: LocalSGD(opt, sync_every=every), local=True),
    "diloco": Family(lambda opt, every, server: DiLoCo(opt, sync_every=every), local=True),
    "downpour": Family(lambda opt, every, server: Downpour(server, opt), rule=lambda make, workers: make),
    "easgd": Family(
        lambda opt, every, server: AsyncElasticAveraging(server, opt, sync_every=every),
        rule=lambda make, workers: partial(ElasticCenter, alpha=0.9 / workers),
        local=True,
    ),
    "async-diloco": Family(
        lambda opt, every, server: AsyncDiLoCo(server, opt, sync_every=every),
        rule=lambda make, workers: partial(DelayedNesterov, every=workers),
        local=True,
    ),
}


def named(typed: str) -> str:
    """The family that a person named."""
    known = {plain(name): name for name in FAMILIES}
    if plain(typed) not in known:
        raise LabError(f"unknown family '{typed}': {hint(typed, FAMILIES, 3)}known are {', '.join(FAMILIES)}")
    return known[plain(typed)]
