"""What happens inside a training: a trial run once more while a monitor looks."""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, cast

import torch

from ravine.instruments import Monitor
from ravine.instruments.histogram import BINS

from ..seeding import seed_all
from ..tasks import Data, Task
from .decode import Garbled
from .routing import made
from .trial import Trial, run

SAMPLES = 100  # of norms in a run; half as many of histograms
MOST = 2000  # steps that are looked at: what differs, differs early


@dataclass
class Inside:
    """What the monitor saw, in lists that JSON has: None is a number that is not finite or not there.

    `ratio` ‖Δw‖/‖w‖ and `effective_lr` ‖Δw‖/‖g‖ are [layer][sample]. `gradients` and `updates` are [sample][bin], at
    `histogram_step`: of all numbers x ≠ 0 of all layers the thousandths with 2^(low+bin) ≤ |x| < twice that.
    """

    step: list[int] = field(default_factory=list[int])
    layers: list[str] = field(default_factory=list[str])
    ratio: list[list[float | None]] = field(default_factory=list[list[float | None]])
    effective_lr: list[list[float | None]] = field(default_factory=list[list[float | None]])
    low: int = 0
    histogram_step: list[int] = field(default_factory=list[int])
    gradients: list[list[int]] = field(default_factory=list[list[int]])
    updates: list[list[int]] = field(default_factory=list[list[int]])
    findings: list[str] = field(default_factory=list[str])

    def sound(self) -> None:
        """Raises Garbled where its parts do not belong together: it may come from records."""
        lines = [*self.ratio, *self.effective_lr]
        counts = [*self.gradients, *self.updates]
        whole = (
            len(self.ratio) == len(self.effective_lr) == len(self.layers)
            and all(len(line) == len(self.step) for line in lines)
            and len(self.gradients) == len(self.updates) == len(self.histogram_step)
            and all(len(sample) == len(counts[0]) > 0 for sample in counts)
            and all(0 <= n <= 1000 for sample in counts for n in sample)
            and all(abs(self.low) + len(sample) < 1000 for sample in counts)
        )
        if not whole or any(x is not None and not math.isfinite(x) for line in lines for x in line):
            raise Garbled("what happens inside is not what a monitor saw")


class _Enough(Exception):
    """All steps have been seen."""


def look(trial: Trial, task: Task, data: Data, cls: type) -> Inside:
    """Runs the first 2,000 steps of `trial` as they were run before, from the same weights on the same batches, with a
    `ravine.Monitor` that takes about 100 samples."""
    seed_all(trial.seed)
    model, watching = task.model().to(data.device), list[Monitor]()
    steps = min(MOST, trial.epochs * -(-data.rows // trial.batch))

    def watched(_: Any, **hyper: float) -> torch.optim.Optimizer:
        opt = made(cls, model, hyper)
        monitor = Monitor(model, opt, every=-(-steps // SAMPLES), histograms=2, tell=None)
        advance = opt.step

        def step(_: object, **given: Any) -> Any:
            out = advance(**given)
            monitor.step(given.get("loss"))
            if monitor.count == MOST:
                raise _Enough
            return out

        opt.step = MethodType(step, opt)  # of this one optimizer; torch's schedulers wrap methods only
        watching.append(monitor)
        return opt

    with suppress(_Enough):
        run(trial, task, data, cast(type, watched), model)  # all it does with the class is to call it
    with watching[0] as monitor:
        return _compact(monitor.history, [str(finding) for finding in monitor.findings])


def _compact(seen: dict[str, Any], findings: list[str]) -> Inside:
    """A monitor's history with layers first, three digits, and without the bins that stay empty."""
    counts = {kind: [_all_layers(sample) for sample in seen[kind]] for kind in ("gradients", "updates")}
    used = [i for kind in counts.values() for sample in kind for i, n in enumerate(sample) if n]
    first, last = min(used, default=0), max(used, default=0)
    return Inside(
        step=seen["step"],
        layers=seen["layers"],
        ratio=_by_layer(seen["ratio"]),
        effective_lr=_by_layer(seen["effective_lr"]),
        low=round(math.log2(seen["edges"][first])),
        histogram_step=seen["histogram_step"],
        gradients=[sample[first : last + 1] for sample in counts["gradients"]],
        updates=[sample[first : last + 1] for sample in counts["updates"]],
        findings=findings,
    )


def _by_layer(samples: list[list[float]]) -> list[list[float | None]]:
    return [[float(f"{x:.3g}") if math.isfinite(x) else None for x in layer] for layer in zip(*samples, strict=True)]


def _all_layers(sample: list[list[int]] | None) -> list[int]:
    """The thousandths of each bin but the first, which has the zeros; all 0 where nothing was counted."""
    total = [0, *(sum(bins) for bins in [*zip(*sample, strict=True)][1:])] if sample else [0] * BINS
    return [round(1000 * n / max(1, sum(total))) for n in total]
