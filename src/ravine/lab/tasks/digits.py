"""1,797 handwritten digits of 8x8 pixels that come with scikit-learn: real data, no download."""

from dataclasses import replace

import torch
from torch import nn

from .few import bright, thrice
from .task import Data, Task


def data() -> Data:
    """1,197 digits to train on, 300 to validate and 300 to test; the same split always."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    train, valid, test = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split([1197, 300, 300])
    return Data(x[train], y[train], x[valid], y[valid], x[test], y[test])


def model() -> nn.Module:
    """64-64-10, ReLU, torch's own initial weights."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def tiny() -> Task:
    """The same on eight rows."""
    return replace(task, data=lambda: thrice(*bright(64)), batch=4, epochs=50, tiny=None)


task = Task(
    name="digits",
    data=data,
    model=model,
    batch=128,
    epochs=30,
    about="scikit-learn's 8×8 handwritten digits, 1,197 to train on, 300 to validate, 300 to test; a 64-64-10 ReLU "
    "network.",
    tiny=tiny,
)
