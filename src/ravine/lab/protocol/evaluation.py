"""The loss and the metric of a model over a part of the data."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ..tasks import Rows, Task, count, measured, take
from ..tasks.rows import device_of, joined

PARTS = 50  # of the rows that a verdict is about: what their losses differ by says what it owes to them
LARGEST = 1e100  # of losses and metrics that are finite: means and squares of such are finite too


class Evaluation(NamedTuple):
    """Of the loss the mean, of the metric what it says of all examples together; it is 0 where the task has none."""

    loss: float
    metric: float
    parts: list[float]  # the loss over each so many rows in their order, all but the last of the same number
    metric_parts: list[float]  # what each of them adds to the metric: jackknife pseudo-values, whose mean is about it


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
            sizes, b = [len(rows) for rows in split], len(split)
            metric = float(measured(task.metric, joined(outputs, sizes), y))
            for i in range(b if b > 1 and parts > 1 else 0):
                output = joined(outputs[:i] + outputs[i + 1 :], sizes[:i] + sizes[i + 1 :])
                without = measured(task.metric, output, take(y, torch.cat(split[:i] + split[i + 1 :])))
                metric_parts.append(bounded(b * metric - (b - 1) * float(without)))
    loss = sum(len(rows) * loss for rows, loss in zip(split, losses, strict=True)) / n
    return Evaluation(bounded(loss), bounded(metric), losses, metric_parts)


def bounded(x: float) -> float:
    """What is so large that means of it overflow is infinite."""
    return math.copysign(math.inf, x) if abs(x) > LARGEST else x
