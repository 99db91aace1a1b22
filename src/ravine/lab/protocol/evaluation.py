"""The loss and the metric of a model over a part of the data."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..tasks import Rows, Task, count, measured, take
from ..tasks.rows import device_of, joined

PARTS = 50  # of the rows that a verdict is about: what their losses differ by says what it owes to them
LARGEST = 1e100  # of losses and metrics that are finite: means and squares of such are finite too


class Evaluation(NamedTuple):
    """Of the loss the mean, of the metric what it says of all examples together; it is 0 where the task has none."""

    loss: float
    metric: float
    parts: list[float]  # the loss over each so many rows in their order, all but the last of the same number
    metric_parts: list[float]  # what each of them adds to the metric, whose mean is about it


def evaluated(task: Task, forward: Callable[[Rows], Any], x: Rows, y: Rows, parts: int = 1) -> Evaluation:
    """In at least so many parts, while there are rows."""
    metric, losses, outputs, n = 0.0, list[float](), list[Any](), count(x)
    metric_parts = list[float]()
    split = torch.arange(n, device=device_of(x)).split(min(task.evaluation_batch, -(-n // parts)))
    with torch.no_grad():
        for rows in split:
            output = forward(take(x, rows))
            losses.append(bounded(float(measured(task.loss, output, take(y, rows)))))
            if task.metric is not None:
                outputs.append(output)
        if task.metric is not None:
            metric = float(measured(task.metric, joined(outputs, [len(rows) for rows in split]), y))
            if len(split) > 1 and parts > 1:
                with suppress(Exception):  # of metrics that not every part has, as the area under a curve
                    metric_parts = _added(task.metric, metric, outputs, split, y)
    loss = sum(len(rows) * loss for rows, loss in zip(split, losses, strict=True)) / n
    return Evaluation(bounded(loss), bounded(metric), losses, metric_parts)


def _added(
    metric: Callable[..., Any], whole: float, outputs: list[Any], split: Sequence[Tensor], y: Rows
) -> list[float]:
    """What each part of the rows adds to a metric. That of a mean over the rows is the mean over the part; else it is
    the pseudo-value of the jackknife, b m − (b − 1) m₋ᵢ, with m₋ᵢ the metric without the part."""
    sizes, b = [len(rows) for rows in split], len(split)
    with suppress(Exception):
        each = [float(measured(metric, output, take(y, rows))) for output, rows in zip(outputs, split, strict=True)]
        mean = sum(n * x for n, x in zip(sizes, each, strict=True)) / sum(sizes)
        if math.isclose(mean, whole, rel_tol=1e-5, abs_tol=1e-7):
            return [bounded(x) for x in each]
    made = list[float]()
    for i in range(b):
        output = joined(outputs[:i] + outputs[i + 1 :], sizes[:i] + sizes[i + 1 :])
        without = measured(metric, output, take(y, torch.cat([*split[:i], *split[i + 1 :]])))
        made.append(bounded(b * whole - (b - 1) * float(without)))
    return made


def bounded(x: float) -> float:
    """What is so large that means of it overflow is infinite."""
    return math.copysign(math.inf, x) if abs(x) > LARGEST else x
