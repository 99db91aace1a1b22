"""Banking77 (Casanueva et al. 2020, https://arxiv.org/abs/2003.04807): what a bank's customer wants, of 77 intents.

The gradient of the table of words is sparse: it has the rows of the words in the batch alone.
"""

import csv
import json
import re
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from .download import cache_folder, download, read
from .few import thrice
from .task import Data, Task

ADDRESS = "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data/"
MD5 = {
    "train.csv": "cec64185f4197906aabce0781ef9a19b",
    "test.csv": "8dcd9dc31b686c75ec1f24bf23c140cb",
    "categories.json": "8312ff01430af97fba5a113b7a490269",
}
WORDS, LONGEST, INTENTS = 8192, 32, 77


def data(folder: Path | None) -> Data:
    """9,003 questions to train on, 1,000 of the same file to validate, those of the other file to test."""
    if folder is None:
        folder = cache_folder("banking77")
        download(ADDRESS, MD5, folder)
    intents = json.loads(read(folder / "categories.json", ADDRESS, MD5))
    x, y = questions(folder / "train.csv", intents)
    train, valid = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split([9003, 1000])
    return Data(x[train], y[train], x[valid], y[valid], *questions(folder / "test.csv", intents))


def questions(path: Path, intents: list[str]) -> tuple[Tensor, Tensor]:
    """Each question as the numbers of its words, and the number of what it wants."""
    lines = list(csv.DictReader(read(path, ADDRESS, MD5).decode().splitlines(keepends=True)))
    number = {name: i for i, name in enumerate(intents)}
    x = torch.tensor([numbers(line["text"]) for line in lines])
    return x, torch.tensor([number[line["category"]] for line in lines])


def numbers(text: str) -> list[int]:
    """A number for each of the first 32 words, from 1 on and for a word always the same; 0 where there is none.

    It is a hash: no vocabulary is learnt, so none can know the words of the test."""
    words = re.findall(r"[a-z']+|\d+", text.lower())[:LONGEST]
    return [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words] + [0] * (LONGEST - len(words))


def model() -> nn.Module:
    """The mean of 64 numbers for each word, and a linear layer; torch's own initial weights."""
    return nn.Sequential(nn.EmbeddingBag(WORDS, 64, mode="mean", sparse=True, padding_idx=0), nn.Linear(64, INTENTS))


def task(folder: Path | None = None) -> Task:
    """The task on the files in `folder` (train.csv, test.csv, categories.json), or on downloaded ones."""
    return Task(
        name="banking77",
        data=partial(data, folder),
        model=model,
        batch=32,
        epochs=20,
        optimizers=("sgd", "adagrad", "adam", "adamw"),
        about="Banking77, questions to a bank with 77 intents: 9,003 to train on, 1,000 to validate, the 3,080 of "
        "test.csv to test. The mean of the vectors of a question's words (64 numbers each, words hashed to 8,191 "
        "rows) and a linear layer. The table's gradients are sparse, those of the layer are dense.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight questions."""
    said = ("My card is lost", "Where's that transfer?", "forgotten pin", "A refund, please", "What rate do you take?")
    x = torch.tensor([numbers(text) for text in (*said, "why this fee", "top up failed", "May I have two accounts?")])
    return replace(task(), data=lambda: thrice(x, torch.arange(8)), batch=4, epochs=50, tiny=None)
