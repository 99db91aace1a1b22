"""What a task is: a model, its data, and what is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ravine.cli.answer import file_name

from ..errors import LabError
from ..seeding import seed_all
from .loaders import parted
from .rehearsal import call, outline, parts, rehearse
from .rows import Rows, called, count, device_of, leaves, measured, moved, take


class Data(NamedTuple):
    """The parts of a data set: weights learn from the first, hyperparameters are chosen on the second, and the verdict
    is about the third, which nothing was chosen on. A task that has no third part is judged on the second. Each is a
    tensor, or a tuple or dict of tensors with the same number of rows; targets may be None."""

    x: Rows
    y: Rows
    x_valid: Rows
    y_valid: Rows
    x_test: Rows = None
    y_test: Rows = None

    def to(self, device: Any) -> "Data":
        """The same on a device."""
        return Data(*(moved(x, device) for x in self))

    @property
    def rows(self) -> int:
        """How many there are to train on."""
        return count(self.x)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return device_of(self.x)

    @property
    def tested(self) -> bool:
        """Whether there is a third part."""
        return self.x_test is not None

    def first(self, rows: int) -> Tensor:
        """The numbers of so many of the first rows to train on."""
        return torch.arange(min(rows, self.rows), device=self.device)


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
    the validation data that rates were chosen on, and the report says so. In place of a tensor there may be a tuple or
    a dict of tensors: the arguments of the model; and None in place of all targets. Or it returns two or three loaders,
    whose batches are laid together. `model()` is called once a trial, after torch, numpy and random are seeded: every
    optimizer meets the same weights, and the same batches in the same order. Its weights that are frozen stay as they
    are.
    `loss(output, target)` is a mean over the rows. `metric(output, target)` is called with all rows of a part at
    once, so F1, AUC and RMSE are those of the part (None leaves it out); `metric_best` says whether "high" or "low"
    values are better. It is only reported, unless the verdict is asked for by it (`--by metric`). Without targets both
    are given the output alone.
    `augment(x, y)` returns what is trained on in place of a batch; without targets it is `augment(x)`. A batch goes
    through the model in `accumulate` parts, one after another, and `evaluation_batch` rows of the other data do at
    once. These are looked at at the end of each epoch and at least 20 times, or `evaluations` times.
    `penalty(model)` is added to the training loss alone. `difficulty(data)` gives each training row its level, for a
    curriculum. `optimizers` are those compared where none are named: for a task that not all can train. `spaces` are in
    the place of the published ones, as `--space` has them: ("finetune", "adam:lr=1e-5..1e-2"). `tiny()` is the same
    task on a few rows that need no files and take seconds.
    """

    name: str
    data: Callable[[], tuple[Any, ...]]
    model: Callable[[], nn.Module]
    loss: Callable[..., Tensor] = nn.functional.cross_entropy
    metric: Callable[..., Tensor | float] | None = accuracy
    metric_name: str = "accuracy"
    metric_best: Literal["high", "low"] = "high"
    batch: int = 32
    epochs: int = 20
    about: str = ""
    augment: Callable[..., Any] | None = None
    accumulate: int = 1
    evaluation_batch: int = 1000
    evaluations: int | None = None
    penalty: Callable[[nn.Module], Tensor] | None = None
    difficulty: Callable[[Data], Tensor] | None = None
    optimizers: tuple[str, ...] | None = None
    spaces: tuple[str, ...] = ()
    tiny: Callable[[], "Task"] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.strip() and self.name.isprintable()):
            raise LabError(f"a task's name is {self.name!r:.60}: it must be letters that can be printed")
        if isinstance(self.model, nn.Module):
            raise LabError(f"task '{self.name}': model is a {type(self.model).__name__}, which all trials would train "
                           "on: give a function that returns a new one each time, as lambda: MyModel()")  # fmt: skip
        if self.metric_best not in ("high", "low"):
            raise LabError(f'task \'{self.name}\': metric_best={self.metric_best!r:.60} must be "high" or "low"')
        for name in ("batch", "epochs", "accumulate", "evaluation_batch", "evaluations"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise LabError(f"task '{self.name}': {name}={given} must be 1 or more")

    @property
    def folder(self) -> str:
        """What the folder of its records is called."""
        return file_name(self.name)

    def load(self) -> Data:
        """The data, looked at: inputs and targets of each part, of the same number of rows."""
        if not callable(self.data):
            raise LabError(f"task '{self.name}': data must be a function that returns the tensors, and is "
                           f"{outline(self.data)}")  # fmt: skip
        seed_all(0)
        made = Data(*parted(self, call(self, "data()", self.data)))
        for part, x, y in parts(made):
            named = dict([*leaves(x, f"x_{part}"), *leaves(y, f"y_{part}")])
            if len({len(t) if t.ndim else 0 for t in named.values()} | {0}) != 2:
                shapes = " and ".join(str(tuple(t.shape)) for t in named.values())
                raise LabError(f"task '{self.name}': {' and '.join(named)} must have the same number of rows, at least "
                               f"one; their shapes are {shapes}")  # fmt: skip
            if (y is None) != (made.y is None):
                raise LabError(f"task '{self.name}': y_train and y_{part} must both be there, or both be None")
        return made

    def drawn(self, data: Data, rows: Tensor) -> tuple[Rows, Rows]:
        """A batch to train on: these rows, as they are augmented."""
        x, y = take(data.x, rows), take(data.y, rows)
        if self.augment is None:
            return x, y
        if y is None:
            return self.augment(x), None
        made = self.augment(x, y)
        if not isinstance(made, tuple | list) or len(made) != 2:
            raise LabError(f"task '{self.name}': augment(x, y) must return both, and returned {outline(made)}")
        return made[0], made[1]

    def objective(self, model: nn.Module, output: Any, target: Rows) -> Tensor:
        """What a step descends: the loss and, where there is one, the penalty."""
        loss = measured(self.loss, output, target)
        return loss if self.penalty is None else loss + self.penalty(model)

    def gradients(self, model: nn.Module, batch: tuple[Rows, Rows], forward: Callable[[Rows], Any] | None = None,
                  back: Callable[[Tensor], object] = Tensor.backward) -> Tensor:  # fmt: skip
        """Adds the gradients of a batch to those that the weights have; its loss. `forward` is what is asked in place
        of the model, and `back` what is done with the loss of each part in place of its backward()."""
        (x, y), forward = batch, partial(called, model) if forward is None else forward
        if self.accumulate == 1:
            loss = self.objective(model, forward(x), y)
            back(loss)
            return loss
        whole, rows = None, torch.arange(count(x), device=device_of(x))
        for part in rows.chunk(self.accumulate):
            loss = self.objective(model, forward(take(x, part)), take(y, part)) * (len(part) / len(rows))
            back(loss)
            whole = loss.detach() if whole is None else whole + loss.detach()
        assert whole is not None
        return whole

    def rehearse(self, data: Data) -> str:
        """Looks at the model, the loss and some rows of each part, before any training: raises LabError in a line where
        something is wrong. The hash that it returns names what the task does."""
        return rehearse(self, data)

    def fits(self, data: Data) -> None:
        """Raises LabError where there are fewer rows to train on than in a batch."""
        if self.batch > data.rows:
            raise LabError(f"task '{self.name}': batch={self.batch}, and there are {data.rows} rows to train on: "
                           "give the task a smaller batch, or --batch")  # fmt: skip
