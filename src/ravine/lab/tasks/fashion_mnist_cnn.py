"""Fashion-MNIST again, as images: a small convolutional network on the data of fashion_mnist.py."""

from functools import partial
from pathlib import Path

from torch import nn

from . import fashion_mnist
from .task import Data, Task


def data(folder: Path | None) -> Data:
    """As in fashion_mnist.py, each image of one channel."""
    x, y, x_valid, y_valid = fashion_mnist.data(folder)
    return x.view(-1, 1, 28, 28), y, x_valid.view(-1, 1, 28, 28), y_valid


def model() -> nn.Module:
    """Two 3x3 convolutions of 32 and 64 channels, of stride 2 where others pool, and a linear layer; 50,186 numbers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.ReLU()),  # 28x28 -> 14x14
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),  # 14x14 -> 7x7
        *(nn.Flatten(), nn.Linear(64 * 7 * 7, 10)),
    )


def task(folder: Path | None = None) -> Task:
    """The task on the files in `folder` (those of fashion-mnist), or on downloaded ones."""
    return Task(
        name="fashion-mnist-cnn",
        data=partial(data, folder),
        model=model,
        batch=64,
        epochs=5,
        about="Fashion-MNIST, 60,000 images to train on; the 10,000 test images are the validation data. Two 3×3 "
        "convolutions of stride 2 with 32 and 64 channels and ReLU, a linear layer, torch's own initial weights, "
        "pixels/255.",
    )
