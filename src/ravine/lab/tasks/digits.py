"""1,797 handwritten digits of 8x8 pixels that come with scikit-learn: real data, no download."""

import torch
from torch import nn

from .task import Data, Task


def data() -> Data:
    """1,437 digits to train on, 360 to validate; the same split always."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, valid = rows[:1437], rows[1437:]
    return x[train], y[train], x[valid], y[valid]


def model() -> nn.Module:
    """64-64-10, ReLU, torch's own initial weights."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


task = Task(
    name="digits",
    data=data,
    model=model,
    batch=128,
    epochs=30,
    about="scikit-learn's 8×8 handwritten digits, 1,437 to train on and 360 to validate; a 64-64-10 ReLU network.",
)
