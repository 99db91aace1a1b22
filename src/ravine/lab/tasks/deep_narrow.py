"""A deep and narrow network, which may not learn at all: where the noise of gradients is said to help.

Neelakantan et al. 2015, "Adding gradient noise improves learning for very deep networks", section 4.1
https://arxiv.org/abs/1511.06807
"""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from torch import nn

from . import fashion_mnist
from .few import bright, thrice
from .task import Task

LAYERS, WIDTH = 20, 50


def model() -> nn.Module:
    """784, 20 hidden layers of 50 ReLU, 10."""
    sizes = [784, *LAYERS * [WIDTH]]
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def task(folder: Path | None = None) -> Task:
    """The task on the files in `folder` (those of fashion-mnist), or on downloaded ones."""
    return Task(
        name="deep-narrow",
        data=partial(fashion_mnist.data, folder),
        model=model,
        batch=64,
        epochs=10,
        about=f"{fashion_mnist.PARTS} A network of 20 hidden layers of 50 ReLU each.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight rows."""
    return replace(task(), data=lambda: thrice(*bright(784)), batch=4, epochs=50, tiny=None)
