"""A deep and narrow network from poor weights, which may not learn at all: where noise in the gradients helps.

Neelakantan et al. 2015, "Adding gradient noise improves learning for very deep networks"
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
    """784, 20 hidden layers of 50 ReLU, 10; weights of deviation 0.1, under which signals fade: He's would be 0.2."""
    sizes = [784, *LAYERS * [WIDTH]]
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.1)
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
        about=f"{fashion_mnist.PARTS} 20 hidden layers of 50 ReLU each, weights normal with deviation 0.1, under which "
        "signals and gradients fade from layer to layer, zero biases.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight rows of two classes, which is as many as it tells apart in a second."""
    x, y = bright(784)
    return replace(task(), data=lambda: thrice(x, y // 4), batch=4, epochs=100, tiny=None)
