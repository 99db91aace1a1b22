"""Adult (Kohavi 1996, https://archive.ics.uci.edu/dataset/2/adult): who earns more than 50,000 dollars a year.

Logistic regression with λ‖w‖₁: a convex problem of columns that differ much in how often they are not zero.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .download import cache_folder, download, read
from .few import thrice
from .task import Data, Task

ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
MD5 = {  # with a last empty line, as it comes, and without
    "adult.data": "5d7c39d7b8804f071cdd1f2a7c460872 3b47a7aa751a9626f7123f62764797f4",
}
NUMERIC = (0, 2, 4, 10, 11, 12)  # age, weight of the sample, years of education, capital gain and loss, hours a week
CATEGORIES = (1, 3, 5, 6, 7, 8, 9, 13)  # work, education, marriage, occupation, relationship, race, sex, country
COLUMNS = 107  # the six, and one for each category of the training part; "?" is one
L1 = 1e-3


def data(folder: Path | None) -> Data:
    """22,793 people to train on, 4,884 to validate and 4,884 to test; the same split always."""
    if folder is None:
        folder = cache_folder("adult")
        download(ADDRESS, MD5, folder)
    text = read(folder / "adult.data", ADDRESS, MD5).decode()
    return table([line.split(", ") for line in text.splitlines() if line])


def table(people: list[list[str]]) -> Data:
    """The three parts, 70, 15 and 15 %. Means, deviations and categories are those of the training part."""
    order = torch.randperm(len(people), generator=torch.Generator().manual_seed(0)).tolist()
    held = len(people) * 15 // 100
    train = [people[i] for i in order[: -2 * held]]
    numbers = torch.tensor([[float(row[i]) for i in NUMERIC] for row in train])
    mean, deviation = numbers.mean(0), numbers.std(0)
    kinds = [(i, kind) for i in CATEGORIES for kind in sorted({row[i] for row in train})]
    column, none = {kind: n for n, kind in enumerate(kinds)}, len(kinds)

    def part(rows: list[list[str]]) -> tuple[Tensor, Tensor]:
        numbers = torch.tensor([[float(row[i]) for i in NUMERIC] for row in rows])
        found = torch.tensor([[column.get((i, row[i]), none) for i in CATEGORIES] for row in rows])
        hot = torch.zeros(len(rows), none + 1).scatter_(1, found, 1.0)[:, :none]
        rich = torch.tensor([[float(row[-1] == ">50K")] for row in rows])
        return torch.cat([(numbers - mean) / deviation, hot], 1), rich

    valid, test = ([people[i] for i in rows] for rows in (order[-2 * held : -held], order[-held:]))
    return Data(*part(train), *part(valid), *part(test))


def model() -> nn.Module:
    """Logistic regression, from zero on: it is convex, so seeds differ in the order of the rows alone."""
    layer = nn.Linear(COLUMNS, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def penalty(model: nn.Module) -> Tensor:
    """λ‖w‖₁, without the bias."""
    return L1 * torch.cat([p.flatten() for p in model.parameters() if p.ndim > 1]).abs().sum()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of rows whose more likely answer is right."""
    return ((output > 0) == (target > 0)).float().mean()


def task(folder: Path | None = None) -> Task:
    """The task on the `adult.data` in `folder`, or on a downloaded one."""
    return Task(
        name="adult",
        data=partial(data, folder),
        model=model,
        loss=binary_cross_entropy_with_logits,
        metric=accuracy,
        batch=64,
        epochs=10,
        penalty=penalty,
        about="Adult, who earns more than 50,000 dollars: 22,793 people to train on, 4,884 to validate, 4,884 to test. "
        "Logistic regression from zero weights on 6 standardized numbers and 101 one-hot categories, with "
        f"{L1:g} ‖w‖₁ added to the training loss; validation and test loss are without it.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on sixteen rows, of which a few columns decide."""
    x = torch.zeros(16, COLUMNS)
    x[:, :6] = torch.linspace(-2, 2, 16)[:, None]
    x[torch.arange(16), 6 + torch.arange(16)] = 1
    return replace(task(), data=lambda: thrice(x, (x[:, :1] > 0).float()), batch=4, epochs=50, tiny=None)
