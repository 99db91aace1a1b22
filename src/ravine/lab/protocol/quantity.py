"""What settings are chosen by and the verdict is about: the loss, or the task's metric."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..errors import LabError
from ..tasks import Task
from .trial import Result, Trial

BY = ("loss", "metric")


@dataclass(frozen=True)
class Quantity:
    """A number of a run of which less is better.

    A metric of which less is better is its own; one of which more is better counts as 1 − metric, as an error rate is 1
    − accuracy. Where it is not a number, it is infinite.
    """

    name: str = "loss"
    metric: bool = False
    most: bool = False  # more of the metric is better

    @classmethod
    def of(cls, by: str, task: Task) -> "Quantity":
        """By `--by`; LabError where the task has no metric."""
        if by == "loss":
            return LOSS
        if task.metric is None:
            raise LabError(f"--by metric: task '{task.name}' has none; give Task(metric=…), or leave out --by")
        most = task.metric_best == "high"
        return cls(f"1 − {task.metric_name}" if most else task.metric_name, True, most)

    @property
    def best(self) -> str:
        """What the best has, in words."""
        return f"highest {self.name.removeprefix('1 − ')}" if self.most else f"lowest {self.name}"

    def at(self, x: float) -> float:
        """Of a metric, or loss."""
        x = 1 - x if self.most else x
        return math.inf if self.metric and math.isnan(x) else x

    def seen(self, result: Result) -> Result:
        """A result with this in the place of its losses, but for the training loss."""
        if not self.metric:
            return result
        return replace(
            result,
            valid=[self.at(x) for x in result.metric],
            test=None if result.test_metric is None else self.at(result.test_metric),
            parts=[self.at(x) for x in result.metric_parts],
        )


LOSS = Quantity()


class Seen(Mapping[Trial, Result]):
    """Results by this quantity."""

    def __init__(self, known: Mapping[Trial, Result], quantity: Quantity):
        self.known, self.quantity = known, quantity

    def __getitem__(self, trial: Trial) -> Result:
        return self.quantity.seen(self.known[trial])

    def __contains__(self, trial: object) -> bool:
        return trial in self.known

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)
