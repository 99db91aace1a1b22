"""What several processes have measured, as one: replicas that are given different values would drift apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor


def mean(x: Tensor, group: Any) -> Tensor:
    """The mean of x over the processes of a group: each must call it."""
    x = x.clone()
    dist.all_reduce(x, group=group)
    return x.div_(dist.get_world_size(group))


def average(who: str, values: Iterable[Tensor], group: Any) -> None:
    """Take the mean in place, for what a source has measured. False: each process by itself.

    Raises RuntimeError where there are several processes and nobody has said which of them train one model.
    """
    if group is False or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return
    if group is None:
        raise RuntimeError(
            f"{who}: {dist.get_world_size()} processes run, and each has seen its own batch; give "
            f"{who}(…, group=torch.distributed.group.WORLD) where they train one model, as in DDP, else group=False"
        )
    for x in values:
        x.copy_(mean(x, group))
