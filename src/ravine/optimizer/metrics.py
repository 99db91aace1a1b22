"""What a step has been, from sums that its own pass has made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ravine.compile.interpret import wide

if TYPE_CHECKING:
    from ravine.optimizer import Optimizer
    from ravine.optimizer.bind import Batch


def last(opt: Optimizer) -> Sequence[Batch] | None:
    """The launches of the last step, or None before the first."""
    return opt._watched if opt._released is None else opt._released.batches or None


@torch.no_grad()
def metrics(batches: Sequence[Batch]) -> dict[str, Tensor]:
    """The norms of gradient, update and weights, and the share of clipped elements: 0-d, where the parameters are."""
    found: dict[str, Tensor] = {}
    count = 0
    for batch in batches:
        if "clipped" in batch.launch.plan.measures:
            count += sum(elements(batch))
        for name, sums in measures(batch):
            part = sums.sum()
            found[name] = part if name not in found else found[name] + part.to(found[name].device, non_blocking=True)
    return norms(found, max(count, 1))


@torch.no_grad()
def metrics_of_each(batches: Sequence[Batch], count: int) -> dict[str, Tensor]:
    """The same for each of `count` parameters, in their order; NaN for those that were not in the step."""
    found: dict[str, Tensor] = {}
    sizes = torch.ones(0)
    for batch in batches:
        for name, sums in measures(batch):
            if name not in found:
                found[name] = torch.full((count,), torch.nan, dtype=sums.dtype, device=sums.device)
            place = torch.tensor(batch.index, device=found[name].device)
            found[name][place] = sums.to(found[name].device, non_blocking=True)
            if name == "clipped":
                sizes = torch.ones_like(found[name]) if not len(sizes) else sizes
                sizes[place] = torch.tensor(elements(batch), dtype=sizes.dtype, device=sizes.device).clamp(min=1)
    return norms(found, sizes)


def finite(batches: Sequence[Batch]) -> bool:
    """True if no gradient of a measured step was NaN or infinite. Waits for the device."""
    for batch in batches:
        sums = batch.launch.sums  # of all sums together a finite one is proof, and one call
        if not math.isfinite(sums.sum().item()) and not all(bool(x.isfinite().all()) for _, x in measures(batch)):
            return False
    return True


def measures(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    """The sums of a launch that are only looked at, by name: one for each of its parameters."""
    plan = batch.launch.plan
    return ((name, batch.launch.sums[:, plan.sums.index(x)]) for name, x in plan.measures.items())


def elements(batch: Batch) -> list[int]:
    """How many each parameter has."""
    return [math.prod(b.extent.whole) for b in batch.launch.bound]


def norms(found: dict[str, Tensor], count: int | Tensor) -> dict[str, Tensor]:
    """From sums of squares, and of the `count` elements how many were clipped."""
    out = {f"{'grad' if name == 'gradient' else name}_norm": found[name].sqrt() for name in found if name != "clipped"}
    return out | ({"clipped": found["clipped"] / count} if "clipped" in found else {})


def norm(x: Tensor) -> Tensor:
    """‖x‖ in float64, where the squares of all float32 numbers are finite; in float32 on a device that has no other."""
    return torch.linalg.vector_norm(x, dtype=torch.complex128 if x.is_complex() else wide(x.device))
