"""Fashion-MNIST again, as images: a small convolutional network on the data of fashion_mnist.py."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from . import fashion_mnist
from .few import bright, thrice
from .task import Task

SHAPE = (1, 28, 28)  # one channel


def model() -> nn.Module:
    """Two 3x3 convolutions of 32 and 64 channels, of stride 2 where others pool, and a linear layer; 50,186 numbers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.ReLU()),  # 28x28 -> 14x14
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),  # 14x14 -> 7x7
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 10)),
    )


def normed() -> nn.Module:
    """The same with batch normalization before each ReLU, which makes the biases of the convolutions idle."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 10)),
    )


def task(folder: Path | None = None) -> Task:
    """The task on the files in `folder` (those of fashion-mnist), or on downloaded ones."""
    return Task(
        name="fashion-mnist-cnn",
        data=partial(fashion_mnist.data, folder, SHAPE),
        model=model,
        batch=64,
        epochs=5,
        about=f"{fashion_mnist.PARTS} Two 3×3 convolutions of stride 2 with 32 and 64 channels and ReLU, a linear "
        "layer, torch's own initial weights.",
        tiny=tiny,
    )


def batch_norm(folder: Path | None = None) -> Task:
    """The same with batch normalization."""
    return replace(
        task(folder),
        name="fashion-mnist-cnn-bn",
        model=normed,
        about=f"{fashion_mnist.PARTS} Two 3×3 convolutions of stride 2 with 32 and 64 channels, batch normalization "
        "and ReLU, a linear layer, torch's own initial weights.",
        tiny=lambda: replace(tiny(), name="fashion-mnist-cnn-bn", model=normed),
    )


def tiny() -> Task:
    """The same on eight rows."""
    return replace(task(), data=lambda: thrice(*bright(*SHAPE)), batch=4, epochs=50, tiny=None)
