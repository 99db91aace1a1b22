"""Gradient accumulation: one step from several batches, exactly as from the one large batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


def rows(batch: Any) -> int:
    """How many samples a batch has: the length of the first tensor in it."""
    while not isinstance(batch, Tensor):
        parts = list(batch.values() if isinstance(batch, Mapping) else batch)
        if not parts or isinstance(parts[0], str):
            raise TypeError("accumulate() counts the rows of a batch's first tensor, and finds none: give it count=")
        batch = parts[0]
    return len(batch)


def accumulate(
    batches: Iterable[Batch],
    steps: int,
    *,
    count: Callable[[Batch], int | Tensor] = rows,
    reduction: Literal["mean", "sum"] = "mean",
    distributed: bool = False,
) -> Iterator[list[tuple[Batch, float, bool]]]:
    """The batches in groups of `steps`, one optimizer step each: (batch, share, whether it is the group's last).

        ∇ mean over the union = Σᵢ shareᵢ ∇ meanᵢ        shareᵢ = nᵢ / Σⱼ nⱼ

        >>> import torch, ravine
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = ravine.SGD(model.parameters(), lr=0.1)
        >>> for group in accumulate(torch.randn(10, 3).split(4), 2):  # 4 + 4 rows, then 2
        ...     for x, share, last in group:
        ...         (share * model(x).square().mean()).backward()
        ...     opt.step()
        ...     opt.zero_grad()

    Dividing each loss by `steps` is exact only where all batches are alike: not for a last batch of fewer rows or a
    last group of fewer batches, and not for means over tokens. Here a batch counts by what its loss is a mean over,
    and the gradient is the large batch's up to rounding. (Not where the rows of a batch see each other, as in batch
    normalization and contrastive losses, and dropout draws other masks.)

    batches: a loader, or `order.batches(loader)`. A group is fetched before its first batch is used.
    count: what the loss of a batch is a mean over, for example `lambda b: (b["labels"] != -100).sum()`; rows by
        default. In a causal model the labels are shifted: count `b["labels"][:, 1:]`.
    reduction: of your loss; with "sum" a share is 1 / Σⱼ nⱼ, and batches may have nothing to count.
    distributed: count over all processes too, where DDP or FSDP takes the mean of their gradients: uneven processes
        then also agree with the one large batch. Every process needs as many groups, as samplers here give them.

    `last` says when to communicate, or when to move:

        with nullcontext() if last else model.no_sync():            # DDP; FSDP2: model.set_requires_gradient_sync(last)
        with nullcontext() if last else released.accumulate():      # ravine.release

    Raises ValueError for a batch with nothing to count, whose mean would be 0/0.
    """
    if steps < 1 or reduction not in ("mean", "sum"):
        raise ValueError(f"accumulate() takes steps of at least 1 and mean or sum, not {steps!r} and {reduction!r}")
    rest = iter(batches)
    while group := list(islice(rest, steps)):
        counts = [int(count(batch)) for batch in group]
        if reduction == "mean" and 0 in counts:
            raise ValueError(
                f"of the {len(group)} batches of this step, number {counts.index(0) + 1} has nothing to count, and its "
                'mean is 0/0; use a loss that sums, and reduction="sum"'
            )
        processes, total = (1, sum(counts)) if not distributed else everywhere(sum(counts))
        each = counts if reduction == "mean" else [1] * len(counts)
        shares = [processes * n / max(1, total) for n in each]
        yield [(batch, share, i == len(group)) for i, (batch, share) in enumerate(zip(group, shares, strict=True), 1)]


def everywhere(n: int) -> tuple[int, int]:
    """How many processes there are, and the sum of their n."""
    where = "cpu" if "gloo" in str(torch.distributed.get_backend()) else torch.accelerator.current_accelerator()
    total = torch.tensor(n, device=where)
    torch.distributed.all_reduce(total)
    return torch.distributed.get_world_size(), int(total)
