"""The loss and the metric of a model over a part of the data."""

import math
from collections.abc import Callable
from typing import Any

import torch

from ..tasks import Rows, Task, count, measured, take
from ..tasks.rows import device_of, joined

LARGEST = 1e100  # of losses and metrics that are finite: means and squares of such are finite too


def evaluated(task: Task, forward: Callable[[Rows], Any], x: Rows, y: Rows) -> tuple[float, float]:
    """Of the loss the mean, of the metric what it says of all examples together; it is 0 where the task has none."""
    loss, metric, outputs, sizes = 0.0, 0.0, list[Any](), list[int]()
    with torch.no_grad():
        for rows in torch.arange(count(x), device=device_of(x)).split(task.evaluation_batch):
            output = forward(take(x, rows))
            loss += len(rows) * float(measured(task.loss, output, take(y, rows)))
            sizes.append(len(rows))
            if task.metric is not None:
                outputs.append(output)
        if task.metric is not None:
            metric = float(measured(task.metric, joined(outputs, sizes), y))
    return bounded(loss / sum(sizes)), bounded(metric)


def bounded(x: float) -> float:
    """What is so large that means of it overflow is infinite."""
    return math.copysign(math.inf, x) if abs(x) > LARGEST else x
