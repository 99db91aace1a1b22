"""What a task is: a model, its data, and what is measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from ravine.cli.answer import file_name

from ..errors import LabError
from ..seeding import seed_all
from .rehearsal import call, outline, parts, rehearse


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
    curriculum. `optimizers` are those compared where none are named: for a task that not all can train. `spaces` are in
    the place of the published ones, as `--space` has them: ("finetune", "adam:lr=1e-5..1e-2"). `tiny()` is the same
    task on a few rows that need no files and take seconds.
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
    spaces: tuple[str, ...] = ()
    tiny: Callable[[], "Task"] | None = None

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.strip() and self.name.isprintable()):
            raise LabError(f"a task's name is {self.name!r:.60}: it must be letters that can be printed")
        if isinstance(self.model, nn.Module):
            raise LabError(f"task '{self.name}': model is a {type(self.model).__name__}, which all trials would train "
                           "on: give a function that returns a new one each time, as lambda: MyModel()")  # fmt: skip
        for name in ("batch", "epochs"):
            if getattr(self, name) < 1:
                raise LabError(f"task '{self.name}': {name}={getattr(self, name)} must be 1 or more")

    @property
    def folder(self) -> str:
        """What the folder of its records is called."""
        return file_name(self.name)

    def load(self) -> Data:
        """The data, looked at: six tensors, or four, two and two of the same number of rows."""
        if not callable(self.data):
            raise LabError(f"task '{self.name}': data must be a function that returns the tensors, and is "
                           f"{outline(self.data)}")  # fmt: skip
        seed_all(0)
        data = call(self, "data()", self.data)
        given = [x for x in data if x is not None] if isinstance(data, tuple | list) else []
        if len(given) not in (4, 6) or not all(isinstance(x, Tensor) for x in given):
            raise LabError(f"task '{self.name}': data() must return 6 tensors (x_train, y_train, x_valid, y_valid, "
                           f"x_test, y_test), or the first 4, and returned {outline(data)}")  # fmt: skip
        made = Data(*(x.detach() for x in given))
        for part, a, b in parts(made):
            if a.ndim == 0 or b.ndim == 0 or len(a) != len(b) or len(a) == 0:
                raise LabError(f"task '{self.name}': x_{part} and y_{part} must have the same number of rows, at least "
                               f"one; their shapes are {tuple(a.shape)} and {tuple(b.shape)}")  # fmt: skip
        return made

    def objective(self, model: nn.Module, output: Tensor, target: Tensor) -> Tensor:
        """What a step descends: the loss and, where there is one, the penalty."""
        loss = self.loss(output, target)
        return loss if self.penalty is None else loss + self.penalty(model)

    def rehearse(self, data: Data) -> str:
        """Looks at the model, the loss and some rows of each part, before any training: raises LabError in a line where
        something is wrong. The hash that it returns names what the task does."""
        return rehearse(self, data)

    def fits(self, data: Data) -> None:
        """Raises LabError where there are fewer rows to train on than in a batch."""
        if self.batch > len(data.x):
            raise LabError(f"task '{self.name}': batch={self.batch}, and there are {len(data.x)} rows to train on: "
                           "give the task a smaller batch, or --batch")  # fmt: skip
