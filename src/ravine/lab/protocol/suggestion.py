"""What the losses of a range test say: a rate to try, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

SURE = 5  # standard errors that a fall must have, to be one
EXPLODED = 4  # times the loss at the start: no reason to go on
ROUGH = (
    "A rough guide, the middle of a search: on tasks that it was not made with, 6 of 16 suggestions were within a\n"
    "factor of three of the best constant rate. A schedule that anneals to 0 has a higher one (docs/lr_find.md)."
)


@dataclass(frozen=True)
class RangeTest:
    """What a range test measured and what can be read off it; `print` says it in words.

    `losses[seed][i]` is the loss after the step at `lrs[i]`, and shorter where it diverged; `start` is the loss before
    any step. `smooth` is one curve for all seeds, as far as none of them diverged. `lr` is the suggestion, None where
    there is none, and `reason` says why. Between `lowest` and `highest` the loss falls: bounds for a cyclical schedule.
    """

    lrs: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    start: float
    smooth: tuple[float, ...]
    lr: float | None
    reason: str
    lowest: float | None = None
    highest: float | None = None

    def __str__(self) -> str:
        return f"lr {self.lr:.2g}: {self.reason}" if self.lr is not None else f"no suggestion: {self.reason}"


def exploded(losses: Sequence[float]) -> bool:
    """Whether the last loss is no number, or the last few lie far above the first few."""
    if not math.isfinite(losses[-1]):
        return True
    first, last = median(losses[:5]), median(losses[-5:])
    return len(losses) > 5 and last > first + (EXPLODED - 1) * abs(first)


def smoothed(curve: Sequence[float], half: int) -> list[float]:
    """Means over `half` neighbours on both sides, fewer near the ends but as many on each side: what rises and falls
    stays where it is, and a straight line stays itself."""
    width = [min(i, len(curve) - 1 - i, half) for i in range(len(curve))]
    return [fmean(curve[i - w : i + w + 1]) for i, w in enumerate(width)]


def without_spikes(curve: Sequence[float]) -> list[float]:
    """Medians of five: one or two unlucky batches do not count."""
    width = [min(i, len(curve) - 1 - i, 2) for i in range(len(curve))]
    return [median(curve[i - w : i + w + 1]) for i, w in enumerate(width)]


def read(lrs: Sequence[float], losses: Sequence[Sequence[float]], signs: bool = False) -> RangeTest:
    """The suggestion and its reason, from the losses of every seed; the first of each is before any step. `signs`: the
    method steps by signs, which are as long in noise as without, and which so short a test does not see: a tenth."""
    if not all(math.isfinite(c[0]) for c in losses):
        reason = "the loss is not a finite number before any step: look at the data, the model and the loss"
        return RangeTest(tuple(lrs), tuple(tuple(c[1:]) for c in losses), math.nan, (), None, reason)
    n = min(len(c) - exploded(c) for c in losses)
    half = max(2, len(lrs) // 20)
    smooth = smoothed([fmean(x) for x in zip(*(without_spikes(c[:n]) for c in losses), strict=True)], half)
    found = _suggest(lrs, losses, smooth, half, signs)
    return RangeTest(tuple(lrs), tuple(tuple(c[1:]) for c in losses), smooth[0], tuple(smooth[1:]), *found)


def _suggest(
    lrs: Sequence[float], losses: Sequence[Sequence[float]], smooth: Sequence[float], half: int, signs: bool
) -> tuple[float | None, str, float | None, float | None]:
    """lr, reason, lowest, highest."""
    n, whole = len(smooth), len(smooth) > len(lrs)
    if n < 4 * half:
        return None, f"the loss diverges at once, at lr {lrs[min(n, len(lrs)) - 1]:.2g}; give a smaller low", None, None
    start = fmean(median(c[: 2 * half]) for c in losses)  # the rate is too small to do anything yet
    noise = fmean(median(abs(a - b) for a, b in pairwise(c[: max(n // 4, 3 * half)])) for c in losses)
    # the median difference of two is 0.95 standard deviations, and medians of five are 1.25 times as unsure as means
    error = [1.25 * noise / 0.95 / math.sqrt(len(losses) * (2 * min(i, n - 1 - i, half) + 1)) for i in range(n)]
    low = min(range(1, n), key=lambda i: smooth[i] + SURE * error[i])
    fall = start - smooth[low]
    if fall <= max(SURE * math.hypot(error[half], error[low]), 1e-3 * abs(start)):
        end = "the largest" if whole else f"{lrs[n - 1]:.2g}, where it diverges"
        return (
            None,
            f"the loss never falls below its noise, from lr {lrs[0]:.2g} to {end}; more seeds see more",
            None,
            None,
        )
    begins = max((i for i in range(low) if start - smooth[i] < 0.1 * fall), default=0) + 1  # and from here on
    steepest = min(range(begins, low + 1), key=lambda i: smooth[min(i + 1, low)] - smooth[i - 1])
    end = (
        f"it diverges at {lrs[n - 1]:.2g}"
        if not whole
        else "it still falls at the largest: a larger high would tell more"
        if low >= n - 1 - half
        else "it rises beyond"
    )
    lowest, highest = lrs[begins - 1], lrs[low - 1]
    lr, there = lrs[steepest - 1], "the loss falls fastest there"
    if signs:
        there = f"a tenth of {lr:.2g}, where the loss falls fastest, as steps by signs are as long in noise as without"
        lr /= 10
    reason = (
        f"{there}. It falls from lr {lowest:.2g} to {highest:.2g}, from {start:.3g} to {smooth[low]:.3g}, and {end}."
    )
    return lr, reason, lowest, highest
