"""tinyshakespeare again, read by a recurrent network, on the data of tinyshakespeare.py."""

from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from . import tinyshakespeare
from .task import Task
from .tinyshakespeare import ALPHABET, TEXT


class LSTM(nn.Module):
    """For each position of a row the next character: (rows, ALPHABET, positions), as cross_entropy takes classes."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.character = nn.Embedding(ALPHABET, width)
        self.memory = nn.LSTM(width, width, batch_first=True)
        self.next = nn.Linear(width, ALPHABET)

    def forward(self, text: Tensor) -> Tensor:
        return self.next(self.memory(self.character(text))[0]).mT


def task(folder: Path | None = None) -> Task:
    """The task on the `input.txt` in `folder`, or on a downloaded one."""
    return replace(
        tinyshakespeare.task(folder),
        name="tinyshakespeare-lstm",
        model=LSTM,
        about=f"{TEXT} An LSTM of width 128 that begins each row anew, torch's own initial weights.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight rows."""
    return replace(tinyshakespeare.tiny(), name="tinyshakespeare-lstm", model=LSTM)
