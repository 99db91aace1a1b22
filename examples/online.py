"""Learn from a stream, one pass, each row tested before it is trained on: python examples/online.py [adult.data]

The stream is the census file Adult (https://archive.ics.uci.edu/dataset/2/adult; the first argument, or
$RAVINE_DATA/adult/adult.data), else scikit-learn's digits. A row is a set of words such as "education=Bachelors"; each
word is hashed to a row of one table, so nothing need be known of the data before they come (Weinberger et al. 2009,
https://arxiv.org/abs/0902.2206). A step touches the rows of the words that occurred: gradients are sparse.
"""

import os
import sys
from collections.abc import Iterator
from math import log2
from pathlib import Path
from zlib import crc32

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

import ravine

TABLE = 2**14
ADULT = [
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship"),
    *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"),
]

Row = tuple[list[str], int]


class Stream(IterableDataset[Row]):
    """Rows as they come: words and a label. It has no length and no order but its own."""

    def __init__(self, file: Path | None):
        self.file = file

    def __iter__(self) -> Iterator[Row]:
        if self.file is None:
            from sklearn.datasets import load_digits

            for image, label in zip(*load_digits(return_X_y=True), strict=True):
                yield [f"{i}={int(x) // 4}" for i, x in enumerate(image)], int(label)
            return
        with self.file.open() as lines:
            for line in lines:
                *values, label = (part.strip() for part in line.split(","))
                if values:
                    words = [f"{k}={coarse(v)}" for k, v in zip(ADULT, values, strict=True)]
                    crossed = [f"{words[3]} {words[i]}" for i in (5, 6, 9)]  # education with status, occupation, sex
                    yield words + crossed, int(label.startswith(">"))


def coarse(value: str) -> str:
    """A number by its size: every doubling has four steps."""
    return str(round(4 * log2(1 + int(value)))) if value.isdigit() else value


def collate(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Places in the table, (rows, words), and labels."""
    places = [[crc32(word.encode()) % TABLE for word in words] for words, _ in rows]
    return torch.tensor(places), torch.tensor([label for _, label in rows])


def main(file: Path | None = None, classes: int = 2, batch_size: int = 8) -> tuple[float, float]:
    """The accuracy of predictions made before each row was learned, and of naming the class most frequent so far."""
    torch.manual_seed(0)
    model = nn.EmbeddingBag(TABLE, classes, mode="sum", sparse=True)
    nn.init.zeros_(model.weight)
    opt = ravine.Adagrad(model.parameters(), lr=0.1)
    seen, right, naive, loss_sum = 0, 0, 0, 0.0
    counts = torch.zeros(classes, dtype=torch.long)
    for places, labels in DataLoader(Stream(file), batch_size, collate_fn=collate):
        scores = model(places)
        loss = cross_entropy(scores, labels)  # the test ...
        right += int((scores.argmax(1) == labels).sum())
        naive += int((labels == counts.argmax()).sum())
        loss_sum += loss.item() * len(labels)
        loss.backward()  # ... and then the training
        opt.step()
        opt.zero_grad()
        counts += torch.bincount(labels, minlength=classes)
        before, seen = seen, seen + len(labels)
        if before // 4000 < seen // 4000:
            print(f"{seen:6} rows: accuracy {right / seen:.1%}, {naive / seen:.1%} naively; loss {loss_sum / seen:.3f}")
    return right / seen, naive / seen


if __name__ == "__main__":
    found = Path(sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("RAVINE_DATA", ".")) / "adult/adult.data")
    accuracy, naive = main(found) if found.exists() else main(None, classes=10)
    print(f"accuracy {accuracy:.1%}, naively {naive:.1%}")
