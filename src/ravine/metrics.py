"""What a step has been, from sums that its own pass has made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ravine.arrange import Batch


@torch.no_grad()
def metrics(batches: Sequence[Batch]) -> dict[str, Tensor]:
    """The norms of gradient and update, and the share of clipped elements: 0-d tensors where the parameters are."""
    found: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        launch, plan = batch.launch, batch.launch.plan
        if "clipped" in plan.measures:
            count += sum(size["b"] * size["r"] * size["c"] for size in launch.sizes_of)
        for name, x in plan.measures.items():
            part = launch.sums[:, plan.sums.index(x)].sum()
            found[name] = part if name not in found else found[name] + part.to(found[name].device, non_blocking=True)
    out = {f"{'grad' if name == 'gradient' else name}_norm": found[name].sqrt() for name in found if name != "clipped"}
    return out | ({"clipped": found["clipped"] / max(count, 1)} if "clipped" in found else {})
