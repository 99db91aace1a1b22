"""A person's own task: found, looked at, and told what is wrong with it before any training."""

import math
import random
from dataclasses import replace

import numpy
import pytest
import torch
from torch import nn

import ravine
from ravine.cli.answer import Mistake
from ravine.lab import LabError, Task
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import TASKS, load_task

from .conftest import ROOT

X, Y = torch.randn(12, 3), torch.arange(12) % 2
HOLED, LATE = X.clone(), X.clone()
HOLED[[2, 7], 1], LATE[11, 0] = math.nan, math.inf
SHARED = nn.Linear(3, 2)


class Fill(nn.Module):
    def forward(self, x):
        return x.nan_to_num(0.0, 0.0, 0.0)


GOOD = Task("mine", lambda: (X, Y, X, Y), lambda: nn.Linear(3, 2))


@pytest.fixture(params=TASKS)
def tiny(request):
    """Each of ours on its few rows."""
    task = load_task(request.param).tiny()
    assert task.name == request.param and task.tiny is None
    return task


@pytest.mark.ci
def test_ours_learn_what_can_be_learnt(tiny):
    trial = Trial(tiny.name, "adam", (("lr", 0.003),), seed=0, epochs=tiny.epochs, batch=tiny.batch, content="")
    result, _ = run(trial, tiny, tiny.load(), ravine.Adam)
    assert result.valid[-1] < 0.5 * result.valid[0]
    assert tiny.metric is None or result.metric[-1] > 0.95 > result.metric[0]


def test_ours_measure_means_over_the_rows(tiny):
    data, model = tiny.load(), tiny.model().eval()
    x, y = data.x[:8], data.y[:8]
    output = model(x)
    for measured in filter(None, (tiny.loss, tiny.metric)):
        apart = [measured(output[i : i + 1], y[i : i + 1]) for i in range(8)]
        torch.testing.assert_close(measured(output, y), torch.stack(apart).mean())


def test_ours_say_the_same_each_time(tiny):
    assert tiny.rehearse(tiny.load()) == tiny.rehearse(tiny.load())


def test_ours_have_a_part_that_nothing_is_chosen_on_but_the_experiment_of_articles(tiny):
    assert tiny.load().tested == (tiny.name != "fashion-mnist-classic")


@pytest.mark.parametrize("name", TASKS)
def test_the_guide_names_ours(name):
    assert f"`{name}`" in (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")


def test_numpy_and_random_are_seeded_too():
    def data():
        x = torch.tensor([[random.random(), numpy.random.rand(), float(torch.rand(()))] for _ in range(12)])
        return x, Y, x, Y

    task = replace(GOOD, data=data)
    assert task.rehearse(task.load()) == task.rehearse(task.load())


def test_the_rehearsal_names_what_the_task_does():
    does = GOOD.rehearse(GOOD.load())
    for other in (
        replace(GOOD, model=lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh())),
        replace(GOOD, loss=lambda output, y: 2 * nn.functional.cross_entropy(output, y)),
        replace(GOOD, data=lambda: (X, Y, X + 1, Y)),
        replace(GOOD, metric=None),
    ):
        assert other.rehearse(other.load()) != does
    assert replace(GOOD, about="other words").rehearse(GOOD.load()) == does


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": lambda: (X, Y)}, r"data\(\) must return 6 tensors .* returned a tuple of Tensor, Tensor"),
        ({"data": lambda: None}, "returned a NoneType"),
        (
            {"data": lambda: (X, Y[:5], X, Y)},
            r"same number of rows, at least one; their shapes are \(12, 3\) and \(5,\)",
        ),
        (
            {"data": lambda: (X, Y, X, Y, X)},
            "or the first 4, or 2 or 3 loaders, and returned a tuple of Tensor, Tensor",
        ),
        ({"data": lambda: (X, Y, X, Y, X, Y[:3])}, "x_test and y_test must have the same number of rows"),
        ({"data": lambda: (X, Y, X[:0], Y[:0])}, "x_valid and y_valid must have the same number of rows"),
        ({"data": lambda: 1 / 0}, r"data\(\) fails: ZeroDivisionError: division by zero"),
        ({"model": lambda: 3}, r"model\(\) must return a torch.nn.Module, and returned a int"),
        (
            {"model": lambda: nn.Linear(4, 2)},
            r"the first batch, x \(12, 3\) torch.float32 .* fails: RuntimeError: mat1",
        ),
        ({"loss": lambda output, y: output}, r"the loss must be one number, .* and is a Tensor of shape \(12, 2\)"),
        ({"loss": nn.CrossEntropyLoss}, "fails: |the loss must be one number"),
        ({"loss": lambda output, y: 0 * output.sum()}, "the loss of the first batch is 0 before any step"),
        ({"loss": lambda output, y: output.detach().mean()}, "the loss of the first batch has no gradient"),
        ({"loss": lambda output, y: 1 + 0 * output.sum()}, "has no gradient: it is 0 for all weights"),
        ({"loss": lambda output, y: 1 + (0 * output).norm().sqrt()}, "its gradient is not finite before any step"),
        ({"loss": lambda output, y: output.sum() / 0}, "the loss of the first batch is -?inf before any step, a fault"),
        ({"data": lambda: (HOLED, Y, X, Y)}, r"is nan before any step, a fault of the data: x_train holds .* 2 of 12"),
        ({"data": lambda: (LATE, Y, X, Y), "batch": 4}, "the loss of the train part, .* x_train holds .* in 1 of 12"),
        ({"data": lambda: (X, Y, HOLED, Y)}, "the loss of the valid part, .* x_valid holds NaN or infinity in 2 of 12"),
        ({"data": lambda: (X, Y + 3 * (X[:, 0] == X[5, 0]), X, Y), "batch": 4}, "train part, .* Target [34] is out of"),
        (
            {"data": lambda: (X, Y, X, Y + 1)},
            r"valid part, x \(12, 3\) .* fails: IndexError: Target 2 is out of bounds",
        ),
        ({"data": lambda: (X, Y, X, Y, X[:, :2], Y)}, "the test part, x .* fails: RuntimeError: mat1 and mat2"),
        ({"data": lambda: (X.double(), Y, X, Y)}, "the first batch, x .* torch.float64 .* fails: RuntimeError"),
        ({"data": lambda: (X, Y, X.double(), Y)}, "the valid part, x .* torch.float64 .* fails: RuntimeError"),
        ({"data": lambda: (X, Y.float(), X, Y)}, "the first batch, .* fails: RuntimeError"),
        ({"data": (X, Y, X, Y)}, "data must be a function that returns the tensors, and is a tuple of Tensor"),
        ({"model": lambda: nn.LSTM(3, 2)}, r"cross_entropy_loss\(\): argument 'input' .* must be Tensor, not tuple"),
        ({"model": lambda: SHARED}, r"model\(\) must return a new model each time"),
        ({"model": nn.Linear(3, 2)}, "model is a Linear, which all trials would train on: give a function"),
        (
            {
                "model": lambda: nn.Linear(3, 1),
                "loss": nn.functional.mse_loss,
                "data": lambda: (X, X[:, 0], X, X[:, 0]),
            },
            r"fails: UserWarning: Using a target size \(torch.Size\(\[12\]\)\) that is different",
        ),
    ],
)
def test_says_what_is_wrong(change, message):
    with pytest.raises(LabError, match=message) as found:
        task = replace(GOOD, **change)
        task.rehearse(task.load())
    assert str(found.value).startswith("task 'mine': ") and "\n" not in str(found.value)


def test_what_a_model_can_take_is_not_refused():
    """A NaN that the model fills, classes that the loss leaves out, a test row that has none."""
    fills = replace(GOOD, data=lambda: (HOLED, Y, LATE, Y), model=lambda: nn.Sequential(Fill(), nn.Linear(3, 2)))
    left_out = replace(GOOD, data=lambda: (X, Y.where(Y > 0, -100), X, Y))
    untested = replace(GOOD, data=lambda: (X, Y, X, Y, HOLED, Y))
    for task in (fills, left_out, untested):
        assert task.rehearse(task.load())


def test_a_batch_that_is_larger_than_the_rows():
    with pytest.raises(LabError, match=r"^task 'mine': batch=32, and there are 12 rows to train on: give the task a"):
        GOOD.fits(GOOD.load())
    replace(GOOD, batch=12).fits(GOOD.load())


def test_a_batch_of_nothing():
    with pytest.raises(LabError, match="batch=0 must be 1 or more"):
        replace(GOOD, batch=0)


def test_finding_one(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(
        "from ravine.lab import Task\n"
        "mine = Task('mine', data=None, model=None)\n"
        "def made(folder=None): return Task(f'in {folder}', data=None, model=None)\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_task("my_tasks:mine").name == "mine"
    assert load_task("my_tasks:made", tmp_path).name == f"in {tmp_path}"
    for typed, folder, message in (
        ("my_tasks:number", None, "is a int: it must be a ravine.lab.Task, or a function that returns one"),
        ("my_tasks:mime", None, "has no 'mime'; it has mine"),
        ("my_tasks:mine", tmp_path, "reads no folder: leave out --data"),
        ("no_such_module:task", None, "cannot import 'no_such_module' from .*ModuleNotFoundError"),
        ("digist", None, "did you mean digits"),
    ):
        with pytest.raises(Mistake, match=message):
            load_task(typed, folder)
