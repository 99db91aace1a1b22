"""The tasks by name; a person's own is `module:name`, a Task or a function that returns one."""

from pathlib import Path

from ..errors import LabError
from ..find import find
from . import (
    adult,
    autoencoder,
    banking77,
    deep_narrow,
    digits,
    fashion_mnist,
    fashion_mnist_cnn,
    noisy_quadratic,
    programs,
    tinyshakespeare,
    tinyshakespeare_lstm,
)
from .rows import Rows, called, count, measured, take
from .task import Data, Task, accuracy

TASKS = {
    "digits": digits.task,
    "fashion-mnist": fashion_mnist.task,
    "fashion-mnist-classic": fashion_mnist.classic,
    "fashion-mnist-cnn": fashion_mnist_cnn.task,
    "fashion-mnist-cnn-bn": fashion_mnist_cnn.batch_norm,
    "deep-narrow": deep_narrow.task,
    "autoencoder": autoencoder.task,
    "tinyshakespeare": tinyshakespeare.task,
    "tinyshakespeare-lstm": tinyshakespeare_lstm.task,
    "programs": programs.task,
    "banking77": banking77.task,
    "adult": adult.task,
    "noisy-quadratic": noisy_quadratic.task,
}


def load_task(typed: str, folder: Path | None = None) -> Task:
    """The task called `typed`; `folder` (--data) goes to the function that makes it."""
    found = find(typed, TASKS, "task")
    if isinstance(found, Task) and folder is not None:
        raise LabError(f"task '{typed}' reads no folder: leave out --data {folder}")
    if callable(found):
        try:
            found = found() if folder is None else found(folder)
        except Exception as error:
            raise LabError(f"task '{typed}' cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(found, Task):
        raise LabError(f"task '{typed}' is a {type(found).__name__}: it must be a ravine.lab.Task, or a function "
                       "that returns one")  # fmt: skip
    return found


__all__ = ["TASKS", "Data", "Rows", "Task", "accuracy", "called", "count", "load_task", "measured", "take"]
