"""A person's own task: found, looked at, and told what is wrong with it before any training."""

import random
from dataclasses import replace

import numpy
import pytest
import torch
from torch import nn

import ravine
from ravine.lab import LabError, Task
from ravine.lab.tasks import TASKS, load_task, tinyshakespeare
from ravine.lab.trial import Trial, run

from .conftest import ROOT

X, Y = torch.randn(12, 3), torch.arange(12) % 2
GOOD = Task("mine", lambda: (X, Y, X, Y), lambda: nn.Linear(3, 2))


def rows(name):
    """Eight rows in the shapes of a task's data, with something to learn: classes differ in which part is bright,
    the text says one thing over and over."""
    if name == "tinyshakespeare":
        return tinyshakespeare.chunks(b"to be, or not to be: " * 30)[:2]
    y, shape = torch.arange(8), {"digits": (64,), "fashion-mnist": (784,), "fashion-mnist-cnn": (1, 28, 28)}[name]
    x = torch.zeros(8, *shape).flatten(1)
    for row, part in zip(x, range(8), strict=True):
        row[part * len(row) // 8 : (part + 1) * len(row) // 8] = 1
    return x.view(8, *shape), y


@pytest.mark.parametrize("name", TASKS)
def test_ours_learn_what_can_be_learnt(name):
    task, (x, y) = load_task(name), rows(name)
    trial = Trial(name, "adam", (("lr", 0.003),), seed=0, epochs=50, batch=4, content="")
    result, _ = run(trial, task, (x, y, x, y), ravine.Adam)
    assert len(x) == 8 and result.valid[-1] < 0.5 * result.valid[0] and result.metric[-1] > result.metric[0]


@pytest.mark.parametrize("name", TASKS)
def test_ours_measure_means_over_the_rows(name):
    task, (x, y) = load_task(name), rows(name)
    output = task.model()(x)
    for measured in (task.loss, task.metric):
        apart = [measured(output[i : i + 1], y[i : i + 1]) for i in range(8)]
        torch.testing.assert_close(measured(output, y), torch.stack(apart).mean())


@pytest.mark.parametrize("name", TASKS)
def test_the_guide_names_ours(name):
    assert f"`{name}`" in (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


def test_images_for_convolutions(fashion_mnist):
    x, y, x_valid, y_valid = load_task("fashion-mnist-cnn", fashion_mnist).load()
    assert (x.shape, x_valid.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert (float(x.min()), float(x.max()), len(y), len(y_valid)) == (0, 1, 60_000, 10_000)


def test_the_text_is_cut_in_order():
    x, y, x_valid, y_valid = tinyshakespeare.chunks(bytes(i // 8 for i in range(2000)))
    assert (x.shape, x_valid.shape) == ((28, 64), (3, 64))
    for part, start in ((x, 0), (y, 1), (x_valid, 1800), (y_valid, 1801)):
        assert part.flatten().tolist() == [i // 8 for i in range(start, start + part.numel())]


def test_the_transformer_sees_the_past_alone():
    model, (x, _) = tinyshakespeare.Transformer(), rows("tinyshakespeare")
    other = x.clone()
    other[:, 40] += 1
    changed = (model(x) - model(other)).abs().amax(1)
    assert changed[:, :40].max() < 1e-6 < changed[:, 40:].min()


def test_the_real_text(tinyshakespeare):
    x, y, x_valid, _ = load_task("tinyshakespeare", tinyshakespeare).load()
    assert (x.shape, x_valid.shape) == ((15_685, 64), (1_742, 64))
    letters = sorted({*(tinyshakespeare / "input.txt").read_text("ascii")})
    assert "".join(letters[i] for i in x[0, :13]) == "First Citizen"
    assert len(letters) == 65 == 1 + max(int(part.max()) for part in (x, y, x_valid))


def test_another_text_is_told(tmp_path):
    (tmp_path / "input.txt").write_text("To be")
    with pytest.raises(
        LabError, match=r"not the text of https://.*input\.txt: 5 bytes with md5 .*, expected 1,115,394"
    ):
        load_task("tinyshakespeare", tmp_path).load()


def test_ours_load_and_rehearse():
    task = load_task("digits")
    x, _, x_valid, _ = data = task.load()
    assert (len(x), len(x_valid)) == (1437, 360)
    assert task.rehearse(data) == task.rehearse(data)


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
        ({"data": lambda: (X, Y)}, r"data\(\) must return 4 tensors .* returned a tuple of Tensor, Tensor"),
        ({"data": lambda: None}, "returned a NoneType"),
        (
            {"data": lambda: (X, Y[:5], X, Y)},
            r"same number of rows, at least one; their shapes are \(12, 3\) and \(5,\)",
        ),
        ({"data": lambda: (X, Y, X[:0], Y[:0])}, "x_valid and y_valid must have the same number of rows"),
        ({"data": lambda: 1 / 0}, r"data\(\) fails: ZeroDivisionError: division by zero"),
        ({"model": lambda: 3}, r"model\(\) must return a torch.nn.Module, and returned a int"),
        (
            {"model": lambda: nn.Linear(4, 2)},
            r"the first batch, x \(12, 3\) torch.float32 .* fails: RuntimeError: mat1",
        ),
        ({"loss": lambda output, y: output}, "fails: RuntimeError: grad can be implicitly created only for scalar"),
    ],
)
def test_says_what_is_wrong(change, message):
    with pytest.raises(LabError, match=message):
        task = replace(GOOD, **change)
        task.rehearse(task.load())


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
        with pytest.raises(LabError, match=message):
            load_task(typed, folder)
