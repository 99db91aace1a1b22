"""The loss and the metric of a model over a part of the data."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..tasks import Task

ROWS = 1000  # that go through the model at once
LARGEST = 1e100  # of losses and metrics that are finite: means and squares of such are finite too


def evaluated(task: Task, forward: Callable[[Tensor], Any], x: Tensor, y: Tensor) -> tuple[float, float]:
    """Of the loss the mean, of the metric what it says of all examples together; it is 0 where the task has none."""
    loss, metric, outputs = 0.0, 0.0, list[Any]()
    with torch.no_grad():
        for rows in torch.arange(len(x)).split(ROWS):
            output = forward(x[rows])
            loss += len(rows) * float(task.loss(output, y[rows]))
            if task.metric is not None:
                outputs.append(output)
        if task.metric is not None:
            metric = float(task.metric(_joined(outputs), y))
    return bounded(loss / len(x)), bounded(metric)


def _joined(parts: Sequence[Any]) -> Any:
    """The outputs of several passes as if of one; a model may give several tensors, in a tuple, list or dict."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple | list):
        inside = [_joined(one) for one in zip(*parts, strict=True)]
        return type(first)(*inside) if hasattr(first, "_fields") else type(first)(inside)
    return first


def bounded(x: float) -> float:
    """What is so large that means of it overflow is infinite."""
    return math.copysign(math.inf, x) if abs(x) > LARGEST else x
