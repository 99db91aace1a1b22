"""The loss and the metric of a model over a part of the data."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..tasks import Task

ROWS = 1000  # that go through the model at once, at most
PARTS = 50  # of the rows that a verdict is about: what their losses differ by says what it owes to them
LARGEST = 1e100  # of losses and metrics that are finite: means and squares of such are finite too


class Evaluation(NamedTuple):
    """Of the loss the mean, of the metric what it says of all examples together; it is 0 where the task has none."""

    loss: float
    metric: float
    parts: list[float]  # the loss over each so many rows in their order, all but the last of the same number


def evaluated(task: Task, forward: Callable[[Tensor], Any], x: Tensor, y: Tensor, parts: int = 1) -> Evaluation:
    """In at least so many parts, while there are rows."""
    metric, losses, outputs = 0.0, list[float](), list[Any]()
    split = torch.arange(len(x)).split(min(ROWS, -(-len(x) // parts)))
    with torch.no_grad():
        for rows in split:
            output = forward(x[rows])
            losses.append(bounded(float(task.loss(output, y[rows]))))
            if task.metric is not None:
                outputs.append(output)
        if task.metric is not None:
            metric = float(task.metric(_joined(outputs), y))
    loss = sum(len(rows) * loss for rows, loss in zip(split, losses, strict=True)) / len(x)
    return Evaluation(bounded(loss), bounded(metric), losses)


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
