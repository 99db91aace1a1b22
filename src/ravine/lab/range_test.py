"""The learning rate range test: the rate rises from step to step, and the loss tells where it works."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # pyright: ignore
from torch.optim import Optimizer

from .errors import LabError
from .keep import kept
from .seeding import seed_all

SURE = 5  # standard errors that a fall must have, to be one
EXPLODED = 4  # times the loss at the start: no reason to go on
ADAPTIVE = (
    "A rough guide. The averages that Adam, RMSprop and their kin divide by are younger in the test than in training;\n"
    "for methods that step by signs (Lion, Signum) the suggestion was ten times too large (docs/lr_find.md)."
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


def find_lr(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    batches: Iterable[Any],
    *,
    loss: Callable[[Any, Any], Tensor] = nn.functional.cross_entropy,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    seeds: int = 3,
    shape: Literal["geometric", "linear"] = "geometric",
) -> RangeTest:
    """Trains for some steps while lr rises from `low` to `high`, and says which rate to try.

        >>> import torch, ravine
        >>> from ravine.lab import find_lr
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(512, 8); y = (x.sum(1) > 0).long()
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
        >>> opt = ravine.SGD(model.parameters(), lr=0.01)
        >>> found = find_lr(model, opt, list(zip(x.split(32), y.split(32))))
        >>> 0.05 < found.lr < 5
        True

    Afterwards model, optimizer, schedulers and random numbers are exactly as before, also after an error or Ctrl-C.
    That takes memory for a second copy of weights and states.

    model: called with the first of each batch, in training mode.
    optimizer: as it will train; with several, or several parameter groups, their rates keep their ratios, and `lr` is
        the largest of them. Schedulers may be attached: they are not asked.
    batches: (input, target) pairs, such as a DataLoader; begun again when it ends.
    loss: of the model's output and the target, a mean.
    low, high, steps: the rates. The test ends early where the loss diverges.
    seeds: so many tests from the same weights, with other batches and dropout; their mean is read.
    shape: "geometric", every rate the same multiple of the last one; or "linear", as in the paper.

    Raises LabError for arguments that make no test, and ends of an iterator that cannot be begun again.

    Smith 2017, section 3.3    https://arxiv.org/abs/1506.01186
    """
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    lrs = rates(low, high, steps, shape)
    if seeds < 1:
        raise LabError(f"seeds={seeds}: must be 1 or more")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise LabError("the model has parameters without a shape yet: call it on one batch before find_lr")
    theirs = [getattr(x, "generator", None) for x in (batches, getattr(batches, "sampler", None))]
    losses: list[tuple[float, ...]] = []
    with kept(model, optimizers, theirs) as back:
        for seed in range(seeds):
            back()
            seed_all(seed)
            losses.append(rise(model, optimizers, batches, loss, lrs))
    return read(lrs, losses)


def rates(low: float, high: float, steps: int, shape: str = "geometric") -> tuple[float, ...]:
    """Every rate of the test."""
    if not 0 < low < high < math.inf:
        raise LabError(f"the rates are from {low:g} to {high:g}: they must rise, and the first be above 0")
    if steps < 20:
        raise LabError(f"steps={steps}: must be 20 or more, to see a curve in the noise")
    if shape == "linear":
        return tuple(low + (high - low) * i / (steps - 1) for i in range(steps))
    return tuple(low * (high / low) ** (i / (steps - 1)) for i in range(steps))


def rise(
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    batches: Iterable[Any],
    loss: Callable[[Any, Any], Tensor],
    lrs: Sequence[float],
) -> tuple[float, ...]:
    """One test: the loss before any step, and after the step at each rate until it diverges."""
    stream, out = _endless(batches), list[float]()
    share = _shares(optimizers)
    for thing in (model, *optimizers):
        getattr(thing, "train", lambda: None)()

    def measure() -> Tensor:
        x, y = next(stream)
        return loss(model(x), y)

    def closure() -> Tensor:
        for opt in optimizers:
            opt.zero_grad()
        value = measure()
        value.backward()
        seen.append(value.item())
        return value

    for lr in lrs:
        for group, part in share:
            _set(group, lr * part)
        seen: list[float] = []
        try:
            if len(optimizers) == 1:  # the first call is at the weights before this step; methods may ask again
                optimizers[0].step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]  # torch says float
            else:
                value = closure().item()
                for opt in optimizers:
                    opt.step(lambda value=value: value)
        except (FloatingPointError, LinAlgError):  # of methods that refuse what is not finite
            return (*out, math.inf)
        out.append(seen[0])
        if _exploded(out):
            return tuple(out)
    with torch.no_grad():
        out.append(measure().item())
    return tuple(out)


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        count = 0
        for x in batches:
            count += 1
            yield x
        if not count:
            raise LabError("the batches have ended: give a DataLoader or a list, which can be begun again")


def _shares(optimizers: Sequence[Optimizer]) -> list[tuple[dict[str, Any], float]]:
    """Every parameter group, and its rate as a share of the largest; a schedule may hold them at 0 just now."""
    groups = [group for opt in optimizers for group in opt.param_groups]
    own = [float(group.get("initial_lr", group["lr"])) for group in groups]
    most = max(own, default=0.0)
    return [(group, lr / most if most > 0 else 1.0) for group, lr in zip(groups, own, strict=True)]


def _set(group: dict[str, Any], lr: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def _exploded(losses: Sequence[float]) -> bool:
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


def read(lrs: Sequence[float], losses: Sequence[Sequence[float]]) -> RangeTest:
    """The suggestion and its reason, from the losses of every seed; the first of each is before any step."""
    n = min(len(c) - _exploded(c) for c in losses)
    half = max(2, len(lrs) // 20)
    smooth = smoothed([fmean(x) for x in zip(*(without_spikes(c[:n]) for c in losses), strict=True)], half)
    found = _suggest(lrs, losses, smooth, half)
    return RangeTest(tuple(lrs), tuple(tuple(c[1:]) for c in losses), smooth[0], tuple(smooth[1:]), *found)


def _suggest(
    lrs: Sequence[float], losses: Sequence[Sequence[float]], smooth: Sequence[float], half: int
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
    reason = (
        f"the loss falls fastest there. It falls from lr {lowest:.2g} to {highest:.2g}, from {start:.3g} to "
        f"{smooth[low]:.3g}, and {end}."
    )
    return lrs[steepest - 1], reason, lowest, highest
