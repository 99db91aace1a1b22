"""What a task is: a model, its data, and what is measured."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ravine.cli.answer import file_name

from ..errors import LabError
from ..seeding import seed_all
from ..threads import one_thread


class Data(NamedTuple):
    """The parts of a data set: weights learn from the first, hyperparameters are chosen on the second, and the verdict
    is about the third, which nothing was chosen on. A task that has no third part is judged on the second."""

    x: Tensor
    y: Tensor
    x_valid: Tensor
    y_valid: Tensor
    x_test: Tensor | None = None
    y_test: Tensor | None = None

    def to(self, device: str) -> "Data":
        """The same on a device."""
        return Data(*(None if x is None else x.to(device) for x in self))  # type: ignore[arg-type]

    @property
    def tested(self) -> bool:
        """Whether there is a third part."""
        return self.x_test is not None


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of rows whose largest output is the target class."""
    return (output.argmax(1) == target).float().mean()


@dataclass(frozen=True)
class Task:
    """Something to train; all that `ravine compare` needs to know about it.

        task = Task(
            name="spiral",
            data=load,            # returns x_train, y_train, x_valid, y_valid, x_test, y_test
            model=lambda: nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)),
        )

    `data()` is called once; the rows of its six tensors are the examples. Without the last two the verdict is about
    the validation data that rates were chosen on, and the report says so. `model()` is called once a trial, after
    torch, numpy and random are seeded: every optimizer meets the same weights, and the same batches in the same order.
    `loss(output, target)` is a mean over the rows. `metric(output, target)`, which is only reported, is called with all
    rows of a part at once, so F1, AUC and RMSE are those of the part (None leaves it out).
    `penalty(model)` is added to the training loss alone. `difficulty(data)` gives each training row its level, for a
    curriculum. `optimizers` are those compared where none are named: for a task that not all can train. `tiny()` is
    the same task on a few rows that need no files and take seconds.
    """

    name: str
    data: Callable[[], tuple[Tensor | None, ...]]
    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy
    metric: Callable[[Tensor, Tensor], Tensor | float] | None = accuracy
    metric_name: str = "accuracy"
    batch: int = 32
    epochs: int = 20
    about: str = ""
    penalty: Callable[[nn.Module], Tensor] | None = None
    difficulty: Callable[[Data], Tensor] | None = None
    optimizers: tuple[str, ...] | None = None
    tiny: Callable[[], "Task"] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.strip() and self.name.isprintable()):
            raise LabError(f"a task's name is {self.name!r:.60}: it must be letters that can be printed")
        for name in ("batch", "epochs"):
            if getattr(self, name) < 1:
                raise LabError(f"task '{self.name}': {name}={getattr(self, name)} must be 1 or more")

    @property
    def folder(self) -> str:
        """What the folder of its records is called."""
        return file_name(self.name)

    def load(self) -> Data:
        """The data, looked at: six tensors, or four, two and two of the same number of rows."""
        seed_all(0)
        data = self._call("data()", self.data)
        given = [x for x in data if x is not None] if isinstance(data, tuple | list) else []
        if len(given) not in (4, 6) or not all(isinstance(x, Tensor) for x in given):
            raise LabError(f"task '{self.name}': data() must return 6 tensors (x_train, y_train, x_valid, y_valid, "
                           f"x_test, y_test), or the first 4, and returned {_outline(data)}")  # fmt: skip
        for a, b, part in zip(given[::2], given[1::2], ("train", "valid", "test"), strict=False):
            if a.ndim == 0 or b.ndim == 0 or len(a) != len(b) or len(a) == 0:
                raise LabError(f"task '{self.name}': x_{part} and y_{part} must have the same number of rows, at least "
                               f"one; their shapes are {tuple(a.shape)} and {tuple(b.shape)}")  # fmt: skip
        return Data(*given)

    def objective(self, model: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """What a step descends: the loss and, where there is one, the penalty."""
        loss = self.loss(output, target)
        return loss if self.penalty is None else loss + self.penalty(model)

    def rehearse(self, data: Data) -> str:
        """One batch, forward and backward. What is wrong with the task is said here, before any training; the hash of
        data, loss and gradients names what the task does, so that results of another never mix with its."""
        seed_all(0)
        model = self._call("model()", self.model)
        if not isinstance(model, nn.Module):
            raise LabError(f"task '{self.name}': model() must return a torch.nn.Module, and returned {_outline(model)}")
        x, y = data.x[: self.batch], data.y[: self.batch]
        about = f"the first batch, x {tuple(x.shape)} {x.dtype} and y {tuple(y.shape)} {y.dtype},"
        with one_thread():
            measured = self._call(about, self._batch, model, x, y)
        digest = hashlib.sha256(repr(measured).encode())
        for tensor in (*data, *(p.grad for p in model.parameters())):
            if tensor is None:
                continue
            tensor = tensor.to_dense() if tensor.is_sparse else tensor
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float | None]:
        output = model(x)
        loss = self.objective(model, output, y)
        loss.backward()
        return loss.item(), self.metric and float(self.metric(output.detach(), y))

    def _call(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Runs the person's code; an error in it is about that code, and told so."""
        try:
            return function(*args)
        except LabError:
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise LabError(f"task '{self.name}': {what} fails: {message}") from error


def _outline(thing: object) -> str:
    inside = f" of {', '.join(type(t).__name__ for t in thing)}" if isinstance(thing, tuple | list) else ""
    return f"a {type(thing).__name__}{inside}"
