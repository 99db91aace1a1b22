"""The tasks by name; a person's own is `module:name`, a Task or a function that returns one."""

from pathlib import Path

from ..errors import LabError
from ..find import find
from . import digits, fashion_mnist, fashion_mnist_cnn, tinyshakespeare
from .task import Data, Task, accuracy

TASKS = {
    "digits": digits.task,
    "fashion-mnist": fashion_mnist.task,
    "fashion-mnist-cnn": fashion_mnist_cnn.task,
    "tinyshakespeare": tinyshakespeare.task,
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


__all__ = ["TASKS", "Data", "Task", "accuracy", "load_task"]
