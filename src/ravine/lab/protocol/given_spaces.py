"""Spaces in the place of the published ones: what --space and a task's `spaces` say.

    finetune                                  every rate at a hundredth of the table's, as weights that are trained
                                              already want: AdamW from 1e-6, Lion from 1e-7
    adam:lr=1e-5..1e-2,1-beta1=0.02..0.5      these ranges for Adam, whoever made it; all else of its row stays

One factor for all keeps what a comparison needs: the same decades for everybody, and the methods to each other as the
table has them. Methods that find the rate themselves keep theirs, a factor on what they find.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import TYPE_CHECKING

from ravine.catalog.names import is_own
from ravine.typed import hint, listed

from ..errors import LabError
from .named import named
from .recipe import open_ended
from .spaces import FOLLOWED, REST, Range, Space, for_matrices, method, space_of, takes

if TYPE_CHECKING:
    from .search import Entry

FINETUNE = "finetune"
LOWER = 100  # times
FINDS_ITS_RATE = ("dadaptadam", "dadaptsgd", "dog", "dowg", "ldog", "prodigy")


@dataclass(frozen=True)
class Given:
    """Ranges for one method, or for one entry."""

    name: str  # in its one form
    ranges: Space
    said: str  # with where it stands


def finetuned(space: Space, cls: type) -> Space:
    """The space with the rates of fine-tuning."""
    if method(cls) in FINDS_ITS_RATE:
        return space
    rates = ("lr", FOLLOWED, REST)
    return {k: (low / LOWER, high / LOWER) if k in rates else (low, high) for k, (low, high) in space.items()}


def instead(space: Space, given: Space) -> Space:
    """The space with given ranges in their places: right after lr, since a tier searches the first of a space. A range
    of lr is in the place of one of lr/(1-momentum)."""
    first, ends = next(iter(space.items()))
    rest = {k: ends for k, ends in space.items() if k != first}
    return ({"lr": given["lr"]} if "lr" in given else {first: ends}) | given | rest | given


def spaced(entries: Sequence["Entry"], asked: Sequence[str], of_task: Sequence[str], task: str) -> list["Entry"]:
    """The entries with the spaces that are asked for and those of the task, which say nothing against the first."""
    option = [read(text, "--space") for text in asked]
    own = [read(text, f"task '{task}': spaces") for text in of_task]
    for one in option:
        if isinstance(one, Given) and not any(_means(one, entry) for entry in entries):
            raise LabError(f"{one.said}: no optimizer that is compared is called {one.name}; there are "
                           f"{', '.join(entry.name for entry in entries)}")  # fmt: skip
    every = [x for x in (*own, *option) if isinstance(x, Given)]
    finetune = len(every) < len(own) + len(option)
    return [replace(entry, given=tuple(_ranges(every, entry).items()), finetune=finetune) for entry in entries]


def read(text: str, where: str) -> Given | None:
    """What one text says; None is `finetune`."""
    if text == FINETUNE:
        return None
    name, colon, ranges = text.rpartition(":")
    if not colon:
        raise LabError(f"{where} {text}: write {FINETUNE}, or NAME:HYPERPARAMETER=LOW..HIGH, such as "
                       "adam:lr=1e-5..1e-2,1-beta1=0.02..0.5")  # fmt: skip
    try:
        called = name if is_own(name) else named(name).name  # somebody's own is not imported for this
    except ValueError as error:
        raise LabError(f"{where} {text}: {error}") from error
    return Given(called, dict(_range(x, f"{where} {text}") for x in listed(ranges)), f"{where} {text}")


def _range(text: str, said: str) -> tuple[str, Range]:
    name, _, ends = (part.strip() for part in text.partition("="))
    try:
        low, high = map(float, ends.split(".."))
    except ValueError:
        raise LabError(f"{said}: {text} is no range, such as lr=1e-5..1e-2") from None
    most = 1.0 if name.startswith("1-") else math.inf
    if not (0 < low < high <= most and high < math.inf):
        reach = "and the highest is 1" if most == 1 else "and be numbers"
        raise LabError(
            f"{said}: {text}: a range is searched on a log scale: its ends must be above 0 and rise, {reach}"
        )
    return name, (low, high)


def _means(one: Given, entry: "Entry") -> bool:
    return one.name in (entry.name, method(entry.cls))


def _ranges(every: Sequence[Given], entry: "Entry") -> Space:
    """Those for this entry: what is said of it alone goes before what is said of its method."""
    out: Space = {}
    for one in sorted(every, key=lambda one: one.name == entry.name):
        if _means(one, entry):
            for name in one.ranges:
                _check(name, entry, one)
            out |= one.ranges
    return out


def _check(name: str, entry: "Entry", one: Given) -> None:
    beside = name == REST and for_matrices(entry.cls)
    if not (beside or name in space_of(entry.cls) or takes(entry.cls, name) or open_ended(entry.cls)):
        known = [f"1-beta{i}" for i in range(1, 4)] + list(signature(entry.cls).parameters)
        known = [k for k in known if takes(entry.cls, k) and k not in ("params", "betas")]
        raise LabError(f"{one.said}: {entry.name} has no '{name}': {hint(name, known)}it takes {', '.join(known)}")
