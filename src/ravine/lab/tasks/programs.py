"""Learning to execute: a recurrent network reads a short program, character by character, and says what it prints.

    a=83                          the program, generated; then "@", and as the output, which alone is learnt:
    for x in range(4):a+=27
    print((a-45))                 146.

Two knobs make it difficult: length, the digits of its numbers, and nesting, the operations that are put into one
another. Programs are of all levels in the training part, as many of each, and of the highest in the other two.

Zaremba & Sutskever 2014    https://arxiv.org/abs/1410.4615
"""

import random
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .few import thrice
from .task import Data, Task

LENGTH, NESTING = 3, 2  # the highest of each
PROGRAM, OUTPUT = 71, 8  # characters: of the longest program with its "@", of the longest output with its end
ALPHABET = " abcdefghijklmnopqrstuvwxyz0123456789+-*=<>():\n.@"  # the first fills up
ROWS, KEPT = 24_000, 1_000
NONE = -100  # in place of a character: there is none to be said


def data() -> Data:
    """24,000 programs to train on, 1,000 to validate and 1,000 to test, no two parts with one in common."""
    draw = random.Random(0)
    levels = [(length, nesting) for nesting in range(1, NESTING + 1) for length in range(1, LENGTH + 1)]
    kept: dict[str, int] = {}
    while len(kept) < 2 * KEPT:
        kept.update([program(draw, LENGTH, NESTING)])
    train: list[tuple[str, int]] = []
    while len(train) < ROWS:
        found = program(draw, *levels[len(train) % len(levels)])
        if found[0] not in kept:
            train.append(found)
    pairs = list(kept.items())
    return Data(*rows(train), *rows(pairs[:KEPT]), *rows(pairs[KEPT:]))


def program(draw: random.Random, length: int, nesting: int) -> tuple[str, int]:
    """A program and what it prints: operations, each on the result of the one before and new numbers."""
    lines: list[str] = []
    names = draw.sample([c for c in ALPHABET if c.isalpha() and c != "x"], nesting)  # x counts the loops
    result: tuple[str, int] | None = None

    def number() -> tuple[str, int]:
        n = draw.randrange(10 ** (length - 1), 10**length)
        return str(n), n

    for name in names:
        operands = [result or number(), number(), number(), number()]
        sign, times = draw.choice((1, -1)), draw.randint(1, 4 * length)
        operation = draw.choice(("add", "multiply", "assign", "loop", "choose"))
        count = {"choose": 4, "multiply": 1}.get(operation, 2)
        (a, p), *others = draw.sample(operands[:count], count)
        if operation == "multiply":
            result = draw.choice((f"({a}*{times})", f"({times}*{a})")), p * times
        elif operation == "choose":
            (b, q), (c, r), (d, s) = others
            result = f"({a} if {b}{'>' if sign > 0 else '<'}{c} else {d})", p if (q - r) * sign > 0 else s
        else:
            (b, q), op = others[0], "+-"[sign < 0]
            if operation == "add":
                result = f"({a}{op}{b})", p + sign * q
            elif operation == "assign":
                lines.append(f"{name}={a}")
                result = f"({name}{op}{b})", p + sign * q
            else:
                lines += [f"{name}={a}", f"for x in range({times}):{name}{op}={b}"]
                result = name, p + sign * times * q
    assert result is not None
    return "\n".join([*lines, f"print({result[0]})"]), result[1]


def rows(programs: list[tuple[str, int]]) -> tuple[Tensor, Tensor]:
    """Programs as numbers, at the right of their columns, followed by the output but for its end; and the output."""
    code = {c: i for i, c in enumerate(ALPHABET)}
    x, y = torch.zeros(len(programs), PROGRAM + OUTPUT - 1, dtype=torch.long), []
    for row, (text, printed) in zip(x, programs, strict=True):
        read, said = [code[c] for c in f"{text}@"], [code[c] for c in f"{printed}."]
        row[PROGRAM - len(read) : PROGRAM + len(said) - 1] = torch.tensor(read + said[:-1])
        y.append(said + [NONE] * (OUTPUT - len(said)))
    return x, torch.tensor(y)


def difficulty(data: Data) -> Tensor:
    """The level of each program, counted in its text: one for each length, and from the longest to the next nesting."""
    digit = torch.tensor([c.isdigit() for c in ALPHABET])[data.x[:, :PROGRAM]]
    run, length = torch.zeros(len(digit)), torch.zeros(len(digit))
    for column in digit.T:
        run = (run + 1) * column
        length = length.maximum(run)
    nesting = (data.x == ALPHABET.index("(")).sum(1) - 1  # one for each operation, and that of print
    return (nesting - 1) * LENGTH + length


class LSTM(nn.Module):
    """For each character of the output, all before it being known, the next: (rows, ALPHABET, OUTPUT)."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.character = nn.Embedding(len(ALPHABET), width)
        self.memory = nn.LSTM(width, width, batch_first=True)
        self.next = nn.Linear(width, len(ALPHABET))

    def forward(self, text: Tensor) -> Tensor:
        return self.next(self.memory(self.character(text))[0][:, -OUTPUT:]).mT


def loss(output: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of the characters of an output, a mean over those that it has, and over the rows."""
    there = target != NONE
    return (cross_entropy(output, target, reduction="none", ignore_index=NONE).sum(1) / there.sum(1)).mean()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of an output's characters that are right, each after the right ones before it; a mean over rows."""
    there = target != NONE
    return (((output.argmax(1) == target) & there).sum(1) / there.sum(1)).mean()


def tiny() -> Task:
    """The same on eight programs of the lowest level and eight of the highest."""
    draw = random.Random(0)
    few = [program(draw, *level) for level in ((1, 1), (LENGTH, NESTING)) for _ in range(8)]
    return replace(task, data=lambda: thrice(*rows(few)), batch=4, epochs=50, tiny=None)


task = Task(
    name="programs",
    data=data,
    model=LSTM,
    loss=loss,
    metric=accuracy,
    metric_name="accuracy of a character",
    batch=64,
    epochs=5,
    difficulty=difficulty,
    about=f"Programs of one or two operations on numbers of one to three digits: {ROWS:,} of all levels to train on, "
    f"{KEPT:,} of the highest to validate, {KEPT:,} to test. An LSTM of width 128, torch's own initial weights, reads "
    "them character by character; loss and accuracy are of the characters that they print.",
    tiny=tiny,
)
