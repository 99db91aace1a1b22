"""Loaders, data sets and iterables as the data of a task: read once, as rows; and what is wrong with them."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from ravine.lab import LabError
from ravine.lab.tasks import loaders

from .test_any_model import OWN, PLAIN, X, Y, result


class Examples(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i].numpy(), int(self.y[i])


class Stream(IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        yield from zip(self.x, self.y, strict=True)


LOADED = {
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=7),
    "loader of a list": lambda x, y: DataLoader(list(zip(x, y, strict=True)), batch_size=7),
    "data set": Examples,
    "stream": Stream,
    "batches": lambda x, y: list(zip(x.split(9), y.split(9), strict=True)),
    "generator": lambda x, y: ([a, b] for a, b in zip(x.split(9), y.split(9), strict=True)),
}


@pytest.mark.parametrize("make", LOADED.values(), ids=list(LOADED))
def test_a_loader_is_the_rows_that_it_gives(make):
    x, y, x_valid, y_valid, x_test, y_test = PLAIN.data()
    three = replace(PLAIN, data=lambda: (make(x, y), make(x_valid, y_valid), make(x_test, y_test)))
    data = three.load()
    assert all(torch.equal(a, b) for a, b in zip(data, PLAIN.load(), strict=True))
    assert three.rehearse(data) == PLAIN.rehearse(PLAIN.load())
    two = replace(PLAIN, data=lambda: (make(x, y), make(x_valid, y_valid), None)).load()
    assert not two.tested and torch.equal(two.x, x)


def test_a_loader_of_dicts_has_the_targets_among_them():
    def loader(x, y):
        rows = zip(x, y, strict=True)
        batches = DataLoader([{"pair": (a / 2, a / 2), "mask": torch.ones(1), "labels": b} for a, b in rows], 9)
        return [{**batch, "pair": list(batch["pair"])} for batch in batches]

    whole = PLAIN.data()
    task = replace(OWN, data=lambda: tuple(loader(*whole[i : i + 2]) for i in (0, 2, 4)))
    assert result(task) == result(OWN)
    data = replace(PLAIN, data=lambda: ([{"x": X}], [{"x": X}])).load()
    assert data.y is None and list(data.x) == ["x"]
    assert replace(PLAIN, data=lambda: ([X], [X])).load().y is None


def test_a_loader_that_shuffles_gives_the_same_rows_each_time():
    loader = DataLoader(TensorDataset(X, Y), 8, shuffle=True)
    task = replace(PLAIN, data=lambda: (loader, [(X, Y)]))
    first, second = task.load(), task.load()
    assert torch.equal(first.x, second.x) and torch.equal(first.y, second.y) and not torch.equal(first.x, X)
    assert torch.equal(first.x.sort(0)[0], X.sort(0)[0])


class Ragged(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return {"ids": torch.zeros(4 + i // 2), "labels": 1}


D = {"x": X, "labels": Y}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((X, Y), r"must return 6 tensors .*, or the first 4, or 2 or 3 loaders, and returned a tuple of Tensor"),
        (([D],), "or 2 or 3 loaders, and returned a tuple of list$"),
        ((Ragged(), [D]), r"train loader gives x\['ids'\] in rows of shape \(4,\) in batch 1 and \(5,\) in batch 3: "
         "rows must be alike; pad them all to one length$"),
        (([D], [D, {"x": X, "label": Y}]), r"the valid loader gives x\['x'\], x\['labels'\], y in batch 1 and x"),
        (([D], []), "the valid loader gives no batches"),
        (([(X, X, Y)], [D]), r"the train loader gives a tuple of 3: a batch is \(inputs, targets\)"),
        (([3], [D]), "the train loader gives a int: a batch is"),
        (([{"x": X[0], "labels": Y[0]}], [D]), r"x\['labels'\] is a single number in batch 1: .* need a DataLoader"),
        (([{"x": X, "text": ["a"] * 40}], [D]), r"x\['text'\]\[0\] is a str: it must be a tensor, or a tuple or dict"),
        ((X.numpy(), Y, X, Y), "x_train is a ndarray: it must be a tensor"),
        (({}, Y, X, Y), "x_train is a dict: it must be a tensor, or a tuple or dict of tensors"),
        ((None, Y, X, Y), "x_train is a NoneType: it must be"),
        ((X, Y, X, None), "y_train and y_valid must both be there, or both be None"),
        ((D, Y, {"x": X, "labels": Y[:4]}, Y), r"x_valid\['x'\] and x_valid\['labels'\] and y_valid must have the same "
         r"number of rows, at least one; their shapes are \(40, 3\) and \(4,\) and \(40,\)"),
        (((1 / 0 for _ in range(3)), [D]), "the train loader fails: ZeroDivisionError"),
        ((D, None, D, None), r"x\['x'\] \(16, 3\) torch.float32, x\['labels'\] \(16,\) torch.int64, fails: TypeError"),
        (({"x": X * torch.nan, "labels": Y}, Y, D, Y), r"x_train\['x'\] holds NaN or infinity in 40 of 40 rows"),
        ((D, Y, {"x": X, "labels": Y + 1}, Y), "the valid part, .* fails: IndexError: Target 2 is out of bounds"),
    ],
)  # fmt: skip
def test_says_what_is_wrong_with_the_data(parts, message):
    class Model(nn.Linear):
        def forward(self, x, labels):
            return cross_entropy(super().forward(x), labels)

    task = replace(PLAIN, data=lambda: parts, model=lambda: Model(3, 2), loss=lambda out, y: out, metric=None)
    with pytest.raises(LabError, match=message) as found:
        task.rehearse(task.load())
    assert str(found.value).startswith("task 'mine': ") and "\n" not in str(found.value)
    assert str(found.value).count("task 'mine'") == 1


def test_a_loader_without_end(monkeypatch):
    monkeypatch.setattr(loaders, "MOST", 10_000)

    def endless():
        while True:
            yield X, Y

    with pytest.raises(LabError, match="'mine': the train loader gives more than 0 GiB, and a task holds its rows in"):
        replace(PLAIN, data=lambda: (endless(), [D])).load()
