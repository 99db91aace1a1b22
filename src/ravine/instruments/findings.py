"""From measurements to sentences: what looks wrong, where, and what to try. Every threshold has a name and a reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ravine.instruments.sample import Layer, Sample
from ravine.instruments.units import OUTPUTS

PERSISTS = 5  # samples in a row before a layer is spoken of: one batch may miss a layer, and a warm-up begins at lr 0
DEAD = 0.5  # share of units that never fire; healthy networks have some, and half of a layer is no longer a detail
RATIO = 0.1  # ‖Δw‖/‖w‖; about 0.001 is usual (Karpathy, cs231n, "Ratio of weights:updates"), a hundred times is not
LEAP = 1.0  # the same of the first step: the initial weights, which are there for a reason, are gone
SETTLED = 50  # steps in which ‖Δw‖/‖w‖ means nothing: weights that begin at 0 grow as t, and their ratio falls as 1/t
GROWN = 2.0  # times the first loss, which is that of the weights before any step: no batch order explains this …
RECENT = 10  # … in every one of so many losses
WINDOW, ENOUGH = 100, 20  # losses before a spike that tell what is usual, and how few of them still do
SPIKE = 10.0  # robust standard deviations (1.4826 MAD) above the median, of losses and of their logarithms, since late
# in training losses of small batches are spread over decades, and one hard example is no spike; and …
LOST = 0.25  # … this part of what is usual, and of all progress so far: late in training batches scatter widely
SPIKES = 3  # spikes among WINDOW steps that are more than bad luck with a batch

STILL = {  # why a layer does not move, and what to try
    "outside": (
        "requires_grad is set, but the optimizer does not have it",
        "give the optimizer model.parameters(), or say requires_grad_(False) where it shall stay as it is",
    ),
    "no gradient": (
        "no gradient arrives",
        "look for a detach(), a no_grad() or a branch that leaves it out, or freeze it with requires_grad_(False)",
    ),
    "zero gradient": (
        "the gradient is exactly zero",
        "look for dead units, a mask or a factor of 0 between it and the loss",
    ),
    "lr 0": ("the lr is 0", "set the lr of its group, or look at the end of the schedule"),
    "rounded": (
        "updates are smaller than the type of the weights can tell from 0",
        "keep its weights in float32, or master_bits=16 with bfloat16",
    ),
}
SMALLER_LR = "try a third of the lr, a warm-up, or mods=[ClipNorm(1.0)]"


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong, in words."""

    rule: str  # "dead units", "frozen", "loss spike", "lr too large" or "nan"
    step: int
    layers: tuple[str, ...]  # where; empty where it is about the whole model
    seen: str
    advice: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.rule}: {self.seen}. {self.advice[0].upper()}{self.advice[1:]}."


def judge(layers: Sequence[Layer], recent: Sequence[Sample], losses: Sequence[float], new: int) -> Iterator[Finding]:
    """What is wrong, from the last PERSISTS samples and all losses; the last `new` of these were not judged before."""
    step = recent[-1].step
    yield from frozen(step, layers, recent)
    yield from dead_units(step, recent[-1])
    yield from large_steps(step, layers, recent)
    yield from first_step(step, layers, recent[-1])
    yield from growing_loss(step, losses)
    yield from spikes(losses, new)


def frozen(step: int, layers: Sequence[Layer], recent: Sequence[Sample]) -> Iterator[Finding]:
    """Layers that have not moved in any of these samples, by the reason."""
    if len(recent) < PERSISTS:
        return
    for reason, (seen, advice) in STILL.items():
        names = [x.name for i, x in enumerate(layers) if all(sample.still[i] == reason for sample in recent)]
        if names:
            yield Finding("frozen", step, tuple(names), f"{listed(names)}: {seen}", advice)


def dead_units(step: int, sample: Sample) -> Iterator[Finding]:
    """ReLUs of which most units have not fired for long."""
    for name, (dead, units) in sample.dead.items():
        if dead > DEAD * units:
            many = f"all {units}" if dead == units else f"{dead} of {units}"
            seen = f"{many} units of '{name}' have not fired for the last {OUTPUTS} outputs or more: no gradient passes"
            advice = (
                "try a smaller lr, other initial weights (nn.init.kaiming_normal_, biases of 0), a norm before it, "
            )
            yield Finding("dead units", step, (name,), seen, advice + "or LeakyReLU or GELU")


def large_steps(step: int, layers: Sequence[Layer], recent: Sequence[Sample]) -> Iterator[Finding]:
    """Layers that each step changes by a large part of themselves."""
    settled = [sample.ratio for sample in recent if sample.step > SETTLED]
    if len(settled) < PERSISTS:
        return
    least = {x.name: min(ratio[i] for ratio in settled) for i, x in enumerate(layers) if x.has_matrix}
    if large := {name: x for name, x in least.items() if x > RATIO}:  # NaN is not
        worst = max(large, key=lambda name: large[name])
        seen = f"each step changes '{worst}' by {large[worst]:.0%} of its length or more"
        seen += f", and {len(large) - 1} other layers by more than {RATIO:.0%}" * (len(large) > 1)
        yield Finding("lr too large", step, tuple(large), seen, SMALLER_LR)


def first_step(step: int, layers: Sequence[Layer], sample: Sample) -> Iterator[Finding]:
    """A first step that replaces the weights, in every layer that does not begin at zero."""
    there = [x for x, layer in zip(sample.ratio, layers, strict=True) if layer.has_matrix and math.isfinite(x)]
    if step == 1 and there and min(there) > LEAP:
        seen = f"the first step is {min(there):.1f} times as long as the weights of a layer, or more, in every layer"
        yield Finding("lr too large", step, (), seen, SMALLER_LR)


def growing_loss(step: int, losses: Sequence[float]) -> Iterator[Finding]:
    """A loss far above its beginning."""
    last = losses[-RECENT:]
    there = [x for x in last if math.isfinite(x)]
    blown_up = len(there) < len(last)  # the run may have been short: its last finite losses tell
    if not there or (len(losses) <= RECENT and not blown_up):
        return
    first, now = losses[0], max(there) if blown_up else min(there)
    if now > first + (GROWN - 1) * abs(first):
        seen = f"the loss grows: it is above {now:.3g}, and began at {first:.3g}"
        yield Finding("lr too large", step, (), seen, SMALLER_LR)


def spikes(losses: Sequence[float], new: int) -> Iterator[Finding]:
    """Losses far above those before them."""
    count = len(losses)
    if len(usual := usual_before(losses, count - new)) < ENOUGH // 2:
        return
    low = lost(losses, median(usual))  # most are told apart by this alone
    fresh = [i for i in range(count - new, count) if losses[i] > low and high(losses, i)]
    for i in fresh:
        seen = f"the loss jumped to {losses[i]:.3g} from about {median(usual_before(losses, i)):.3g}"
        advice = "look at the batch of this step; if it comes again, try a smaller lr or mods=[ClipNorm(1.0)]"
        yield Finding("loss spike", i + 1, (), seen, advice)
    if fresh and (many := sum(high(losses, i) for i in range(max(count - WINDOW, 0), count))) >= SPIKES:
        yield Finding("lr too large", count, (), f"{many} loss spikes in the last {WINDOW} steps", SMALLER_LR)


def high(losses: Sequence[float], i: int) -> bool:
    """True if a loss is a spike."""
    usual = usual_before(losses, i)
    if len(usual) < ENOUGH or not math.isfinite(losses[i]):
        return False
    middle = median(usual)
    deviation = 1.4826 * median(abs(x - middle) for x in usual)
    if losses[i] <= max(lost(losses, middle), middle + SPIKE * deviation):
        return False
    if min(usual) <= 0:
        return True
    logs = [math.log(x) for x in usual]  # from one to the next, since they fall by decades in a window too
    deviation = 1.4826 * median(abs(a - b) for a, b in pairwise(logs)) / math.sqrt(2)
    return math.log(losses[i]) > median(logs[-ENOUGH:]) + SPIKE * deviation


def lost(losses: Sequence[float], middle: float) -> float:
    """From where on a loss is far above what is usual, or throws the run back."""
    return middle + LOST * max(losses[0] - middle, abs(middle))


def usual_before(losses: Sequence[float], i: int) -> list[float]:
    """The finite losses of the window before step i."""
    return [x for x in losses[max(i - WINDOW, 0) : i] if math.isfinite(x)]


def not_finite(step: int, layer: str, seen: str) -> Finding:
    """A NaN or an infinity, with its origin."""
    where = (layer,) if layer else ()
    advice = "look for a division by 0, the log or root of what is not positive, or an exp of what is large"
    if "already" in seen:
        advice = f"they came with an earlier step: {SMALLER_LR}"
    if "batch that" in seen:
        advice = "look at the data: a division by a deviation of 0, a missing value"
    return Finding("nan", step, where, f"'{layer}': {seen}" if layer else seen, advice)


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    quoted = [f"'{name}'" for name in names]
    return ", ".join(quoted[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
