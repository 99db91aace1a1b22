"""The learning rate range test: the rate rises from step to step, and the loss tells where it works."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # pyright: ignore
from torch.optim import Optimizer

from ..errors import LabError
from ..seeding import seed_all
from .curvature import backward_of
from .keep import kept
from .spaces import by_signs
from .suggestion import RangeTest, exploded, read


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
        the largest of them. Schedulers may be attached: they are not asked. Where the one with the largest rate steps
        by signs (Lion, Signum, SignSGD), a tenth is suggested.
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
    most = max(map(_rate, optimizers), default=0.0)
    return read(lrs, losses, signs=any(by_signs(_driven(opt)) for opt in optimizers if _rate(opt) == most))


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
    forward: Callable[[nn.Module, Any], Any] = nn.Module.__call__,
) -> tuple[float, ...]:
    """One test: the loss before any step, and after the step at each rate until it diverges."""
    stream, out = _endless(batches), list[float]()
    share = _shares(optimizers)
    back = backward_of(optimizers[0], model, loss) if len(optimizers) == 1 else Tensor.backward
    for thing in (model, *optimizers):
        getattr(thing, "train", lambda: None)()

    def measure() -> Tensor:
        x, y = next(stream)
        return loss(forward(model, x), y)

    def closure() -> Tensor:
        for opt in optimizers:
            opt.zero_grad()
        value = measure()
        back(value)
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
        if exploded(out):
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


def _rate(optimizer: Optimizer) -> float:
    """The largest of its groups."""
    return max((float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups), default=0.0)


def _driven(optimizer: Any) -> type:
    """The class of the optimizer inside, of one that drives another."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return type(optimizer)


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
