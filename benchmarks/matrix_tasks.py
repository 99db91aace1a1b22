"""The tasks of matrix_methods.py: three of the lab's, each of a length that six methods can be compared in minutes.

A row of the text is 64 characters, of which each is predicted. Fewer rows of the training part make an epoch shorter;
the validation part, which is evaluated twenty times a run, and the test part are of their first rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ravine.lab import Task
from ravine.lab.tasks import autoencoder as lab_autoencoder
from ravine.lab.tasks import fashion_mnist as lab_fashion_mnist
from ravine.lab.tasks import tinyshakespeare as lab_tinyshakespeare
from ravine.lab.tasks.task import Data


def tinyshakespeare(folder: Path | None = None) -> Task:
    """A causal transformer of characters: 256 steps of 32 rows."""
    return shorter(lab_tinyshakespeare.task(folder), 32, 8_192, 192, 512)


def autoencoder(folder: Path | None = None) -> Task:
    """The deep autoencoder: 120 steps an epoch."""
    return shorter(lab_autoencoder.task(folder), 250, 30_000, 1_000, 2_000)


def fashion_mnist(folder: Path | None = None) -> Task:
    """784-300-100-10 ReLU: 150 steps an epoch."""
    return shorter(lab_fashion_mnist.task(folder), 256, 38_400, 2_000, 10_000)


def shorter(task: Task, batch: int, train: int, valid: int, test: int) -> Task:
    """The task on the first rows of each of its parts."""

    def data(whole: Callable[[], object] = task.data) -> Data:
        parts = whole()
        assert isinstance(parts, Data)
        rows = (train, train, valid, valid, test, test)
        return Data(*(x[:n].clone() for x, n in zip(parts, rows, strict=True) if x is not None))

    about = f"The first {train:,} rows to train on, {valid:,} to validate, {test:,} to test. {task.about}"
    return replace(task, data=data, batch=batch, about=about, tiny=None)
