"""tinyshakespeare (Karpathy 2015, https://github.com/karpathy/char-rnn): a megabyte of plays, a small transformer."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from .download import cache_folder, download, read
from .few import thrice
from .task import Data, Task

ADDRESS = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
MD5 = {"input.txt": "6fb458f1232090904fb40fe944165e91"}  # 1,115,394 bytes
ALPHABET, CONTEXT = 65, 64
TEXT = (
    "tinyshakespeare, 1.1 million characters in rows of 64, the first 90 % to train on, 5 % to validate, the last 5 % "
)
TEXT += "to test; loss and accuracy are of the next character, at every position."


def data(folder: Path | None) -> Data:
    """The first 90 % of the text to train on, the next 5 % validate, the last 5 % test. Without a folder, downloads."""
    if folder is None:
        folder = cache_folder("tinyshakespeare")
        download(ADDRESS, MD5, folder)
    return chunks(read(folder / "input.txt", ADDRESS, MD5))


def chunks(text: bytes) -> Data:
    """Rows of CONTEXT characters as numbers, in the order of the text, and for each character the one that follows."""
    _, numbers = torch.frombuffer(bytearray(text), dtype=torch.uint8).unique(return_inverse=True)
    a, b = len(text) * 90 // 100, len(text) * 95 // 100
    return Data(*_rows(numbers[:a]), *_rows(numbers[a:b]), *_rows(numbers[b:]))


def _rows(text: Tensor) -> tuple[Tensor, Tensor]:
    end = (len(text) - 1) // CONTEXT * CONTEXT
    return text[:end].clone().view(-1, CONTEXT), text[1 : end + 1].clone().view(-1, CONTEXT)


class Block(nn.Module):
    """Each position looks back at the earlier ones, then thinks alone; both read a normed x and add what they find."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_look, self.before_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.together = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query_key_value(self.before_look(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(q, k, v, is_causal=True)  # (rows, heads, positions, width of a head)
        x = x + self.together(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(gelu(self.wide(self.before_think(x))))


class Transformer(nn.Module):
    """For each position of a row the next character: (rows, ALPHABET, positions), as cross_entropy takes classes."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2):
        super().__init__()
        self.character, self.position = nn.Embedding(ALPHABET, width), nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.next = nn.LayerNorm(width), nn.Linear(width, ALPHABET)
        for layer in self.modules():
            if isinstance(layer, nn.Embedding | nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)

    def forward(self, text: Tensor) -> Tensor:
        x = self.character(text) + self.position.weight
        return self.next(self.norm(self.blocks(x))).mT


def task(folder: Path | None = None) -> Task:
    """The task on the `input.txt` in `folder`, or on a downloaded one."""
    return Task(
        name="tinyshakespeare",
        data=partial(data, folder),
        model=Transformer,
        metric_name="next-character accuracy",
        batch=32,
        epochs=5,
        about=f"{TEXT} A causal transformer of 2 pre-norm layers, width 64, 4 heads, learned positions, weights normal "
        "with deviation 0.02, zero biases.",
        tiny=tiny,
    )


def tiny() -> Task:
    """The same on eight rows, which say one thing over and over."""
    return replace(task(), data=lambda: thrice(*repeated()), batch=4, epochs=50, tiny=None)


def repeated() -> tuple[Tensor, Tensor]:
    """Eight rows of a text of 11 different characters."""
    return chunks(b"to be, or not to be: " * 30)[:2]
