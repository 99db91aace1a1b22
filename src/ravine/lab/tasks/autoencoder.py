"""A deep autoencoder of Fashion-MNIST: an ill-conditioned problem, on which plain gradient descent is slow."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from . import fashion_mnist
from .few import bright, thrice
from .task import Data, Task


def data(folder: Path | None) -> Data:
    """The images of fashion_mnist.py, each the target of itself."""
    parts = fashion_mnist.data(folder)
    return Data(parts.x, parts.x, parts.x_valid, parts.x_valid, parts.x_test, parts.x_test)


def model() -> nn.Module:
    """784-256-64-16-64-256-784, logistic units and a linear code, Glorot-uniform weights, zero biases."""
    down = (nn.Linear(784, 256), nn.Sigmoid(), nn.Linear(256, 64), nn.Sigmoid(), nn.Linear(64, 16))
    up = (nn.Linear(16, 64), nn.Sigmoid(), nn.Linear(64, 256), nn.Sigmoid(), nn.Linear(256, 784))
    net = nn.Sequential(*down, *up)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def task(folder: Path | None = None) -> Task:
    """The task on the files in `folder` (those of fashion-mnist), or on downloaded ones."""
    return Task(
        name="autoencoder",
        data=partial(data, folder),
        model=model,
        loss=binary_cross_entropy_with_logits,
        metric=None,
        batch=100,
        epochs=10,
        about=f"{fashion_mnist.PARTS} The network 784-256-64-16-64-256-784 of logistic units around a linear code "
        "gives back its input; the loss is the cross-entropy of each pixel. It is a smaller one than the "
        "784-1000-500-250-30 of Hinton & Salakhutdinov 2006.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight rows."""
    x, _ = bright(784)
    return replace(task(), data=lambda: thrice(x, x), batch=4, epochs=50, tiny=None)
