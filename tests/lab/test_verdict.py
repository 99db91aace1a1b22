"""The words follow from the numbers."""

import math

import pytest

import ravine
from ravine.lab.search import Entry
from ravine.lab.trial import Result
from ravine.lab.verdict import Cell, detectable, rank, words


def cell(*finals: float, lr: float = 0.1) -> Cell:
    """A learning rate whose seeds ended at these losses."""
    return Cell(lr, tuple(Result(5 if math.isinf(v) else None, valid=[v], metric=[0.5]) for v in finals))


def verdict(**optimizers: list[Cell]) -> str:
    """The words about SGD, Adam, …, each with these cells."""
    return words(rank([(Entry(name, getattr(ravine, name), ()), cells) for name, cells in optimizers.items()]))


def test_the_detectable_difference_is_the_textbook_s():
    # 2.27 σ for 3 seeds, 1.46 σ for 5: t of 2n − 2 degrees of freedom times √(2/n)
    for n, expected in ((3, 2.27), (5, 1.46), (10, 0.94)):
        values = [0.0, 1.0] * (n // 2) + [0.5] * (n % 2)
        spread = cell(*values)
        assert detectable(spread, spread) / spread.spread == pytest.approx(expected, abs=0.01)
    assert detectable(cell(1.0), cell(2.0)) == math.inf


def test_the_best_rate_is_taken_and_the_edge_is_told():
    entry = Entry("sgd", ravine.SGD, (0.1, 1.0, 10.0))
    cells = [cell(3, 3, lr=0.1), cell(1, math.inf, lr=1.0), cell(2, 2, lr=10.0)]
    (row,) = rank([(entry, cells)])
    assert row.best is cells[2] and row.at_edge == "highest"


def test_words():
    close, clear = [cell(1.0, 1.1, 0.9)], [cell(2.0, 2.1, 1.9)]
    lost = [cell(math.inf, 1.0, 1.0)]
    assert verdict(SGD=clear, Adam=close) == "Adam is ahead. SGD is behind."
    assert verdict(SGD=close, Adam=close) == (
        "SGD has the lowest loss, but with 3 seeds none of the others can be told from it."
    )
    assert verdict(SGD=close, Adam=close, NAG=clear, LAMB=clear) == (
        "SGD has the lowest loss; Adam cannot be told from it with 3 seeds. NAG and LAMB are behind."
    )
    assert verdict(SGD=lost, Adam=close) == (
        "Adam reaches a validation loss of 1. SGD diverged at every learning rate."
    )
    assert verdict(SGD=lost) == "Every trial diverged: all learning rates tried are too high for this task."
    assert "one seed cannot tell skill from luck" in verdict(SGD=[cell(1.0)], Adam=[cell(2.0)])
