"""How exactly a learning rate must be met: the points that nothing beats, and the width of the valley in decades."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WITHIN = 0.05  # of the best loss: what is still as good


@dataclass(frozen=True)
class Usable:
    """The rates whose loss is within 5 % of the best; `open` says that they reach the last rate tried at either end,
    so that the true width may be larger."""

    low: float
    high: float
    open: bool

    @property
    def decades(self) -> float:
        """The width: log₁₀(high / low)."""
        return math.log10(self.high / self.low)

    def __str__(self) -> str:
        return f"{'≥ ' if self.open else ''}{self.decades:.1f} decades"


def envelope(lrs: Sequence[float], losses: Sequence[float]) -> list[int]:
    """The indices, by rising rate, of the points that no point farther out on the same side of the best one beats.

    A search in several dimensions tries a rate once, with whatever else was drawn; this is the valley that its better
    points show. It falls from both ends to the best point.
    """
    order = sorted((i for i in range(len(lrs)) if math.isfinite(losses[i])), key=lambda i: lrs[i])
    if not order:
        return []
    best = min(range(len(order)), key=lambda j: losses[order[j]])
    rising = [i for j, i in enumerate(order[:best]) if losses[i] <= min(losses[k] for k in order[: j + 1])]
    after = order[best + 1 :]
    falling = [i for j, i in enumerate(after) if losses[i] <= min(losses[k] for k in after[j:])]
    return [*rising, order[best], *falling]


def usable(lrs: Sequence[float], losses: Sequence[float]) -> Usable | None:
    """Between which rates the envelope, straight over log lr from point to point, is within 5 % of the best; None
    where no rate has a loss. It ends at the last point that has a loss: beside it may be those that diverged."""
    kept = envelope(lrs, losses)
    if not kept:
        return None
    best = min(losses[i] for i in kept)
    limit = best + WITHIN * abs(best)
    middle = next(j for j, i in enumerate(kept) if losses[i] == best)
    low = _reach(kept[middle::-1], lrs, losses, limit)
    high = _reach(kept[middle:], lrs, losses, limit)
    return Usable(low, high, low == min(lrs) or high == max(lrs))


def _reach(outward: Sequence[int], lrs: Sequence[float], losses: Sequence[float], limit: float) -> float:
    """The rate at which the line through these points, from the best one outward, passes the limit."""
    for a, b in pairwise(outward):
        if losses[b] > limit:
            part = (limit - losses[a]) / (losses[b] - losses[a])
            return lrs[a] * (lrs[b] / lrs[a]) ** part
    return lrs[outward[-1]]
