"""Where each parameter lives: on which device, or on which shard of a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from ravine.saved import told

How = Literal["greedy", "round_robin"] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """A parameter, or some of its rows, and where it is."""

    name: str
    start: int
    stop: int  # rows start to stop of `rows`
    rows: int
    shape: tuple[int, ...]  # of the piece
    dtype: torch.dtype
    place: Any

    @property
    def bytes(self) -> int:
        """How much memory its numbers take."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    @property
    def whole(self) -> bool:
        """True if it is a parameter, and not some rows of one."""
        return (self.start, self.stop) == (0, self.rows)

    def of(self, x: Tensor) -> Tensor:
        """The same part of a tensor of the parameter's shape."""
        return x if self.whole else x[self.start : self.stop]


class Placement(Sequence[Piece]):
    """Where each parameter lives: a list of pieces, which prints as a table."""

    def __init__(self, pieces: Sequence[Piece], places: Sequence[Any]):
        self.pieces, self.places = tuple(pieces), tuple(places)

    def __getitem__(self, i: Any) -> Any:
        return self.pieces[i]

    def __len__(self) -> int:
        return len(self.pieces)

    def at(self, place: Any) -> list[Piece]:
        """The pieces at one place, in order."""
        return [x for x in self.pieces if x.place == place]

    @property
    def bytes(self) -> dict[Any, int]:
        """How many bytes are at each place."""
        return {place: sum(x.bytes for x in self.at(place)) for place in self.places}

    def __str__(self) -> str:
        rows = [("parameter", "rows", "shape", "bytes", "at")]
        for x in self.pieces:
            span = "all" if x.whole else f"{x.start} to {x.stop} of {x.rows}"
            rows.append((x.name, span, "×".join(map(str, x.shape)) or "()", f"{x.bytes:,}", str(x.place)))
        rows += [("", "", "", f"{size:,}", f"{place} in all") for place, size in self.bytes.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        sides = ("<", "<", "<", ">", "<")
        lines = (
            "  ".join(f"{x:{side}{width}}" for x, side, width in zip(row, sides, widths, strict=True)) for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)


def place(
    named: Iterable[tuple[str, Tensor]], places: int | Sequence[Any], how: How = "greedy", *, split: bool = False
) -> Placement:
    """Where each of these parameters should live.

        >>> import torch
        >>> from ravine.parallel.placement import place
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 2))
        >>> print(place(model.named_parameters(), 2))
        parameter  rows  shape  bytes  at
        0.weight   all   6×8      192  0
        0.bias     all   6         24  1
        1.weight   all   2×6       48  1
        1.bias     all   2          8  1
                                  192  0 in all
                                   80  1 in all

    named: (name, tensor), as `model.named_parameters()` gives.
    places: devices, such as ["cpu", "cuda:0"], or a number of shards.
    how: "greedy": the largest first, each to the place that has the fewest bytes yet (LPT); "round_robin": in turn, in
        the order given, as TensorFlow's replica_device_setter did; or a dict {name, or beginning of names: place}.
    split: cut a parameter by rows where it has more than an equal share of all bytes.

    Raises ValueError for a place that is none, and for a parameter that a dict leaves out.
    """
    wheres = list(range(places)) if isinstance(places, int) else list(places)
    if not wheres:
        raise ValueError(f"place: places is {told(places)}; there must be one at least")
    tensors = dict(named)
    cuts = [x for name, p in tensors.items() for x in _cut(name, p, _share(tensors, wheres) if split else None)]
    load = dict.fromkeys(range(len(wheres)), 0)
    chosen = dict[int, int]()
    if isinstance(how, str) and how == "greedy":
        for i in sorted(range(len(cuts)), key=lambda i: -cuts[i].bytes):
            chosen[i] = min(load, key=lambda k: (load[k], k))
            load[chosen[i]] += cuts[i].bytes
    elif isinstance(how, str) and how == "round_robin":
        chosen = {i: i % len(wheres) for i in range(len(cuts))}
    elif isinstance(how, Mapping):
        chosen = {i: _told_place(x.name, how, wheres) for i, x in enumerate(cuts)}
    else:
        raise ValueError(f"place: how is {told(how)}; it must be 'greedy', 'round_robin' or a dict {{name: place}}")
    return Placement([_at(x, wheres[chosen[i]]) for i, x in enumerate(cuts)], wheres)


def _share(tensors: Mapping[str, Tensor], wheres: Sequence[Any]) -> float:
    return sum(p.numel() * p.dtype.itemsize for p in tensors.values()) / len(wheres)


def _cut(name: str, p: Tensor, most: float | None) -> list[Piece]:
    """A parameter as pieces of at most so many bytes, by whole rows."""
    rows, size = (p.shape[0] if p.dim() else 1), p.numel() * p.dtype.itemsize
    count = min(rows, -int(-size // most)) if most and p.dim() else 1
    edges = [rows * i // count for i in range(count + 1)] if count > 1 else [0, rows]
    return [
        Piece(name, a, b, rows, (b - a, *p.shape[1:]) if p.dim() else (), p.dtype, None) for a, b in pairwise(edges)
    ]


def _at(x: Piece, place: Any) -> Piece:
    return Piece(x.name, x.start, x.stop, x.rows, x.shape, x.dtype, place)


def _told_place(name: str, how: Mapping[str, Any], wheres: Sequence[Any]) -> int:
    """Where a dict says that a parameter lives: by its name, or the longest beginning of it."""
    fitting = [k for k in how if name == k or name.startswith(f"{k}.") or k == ""]
    if not fitting:
        raise ValueError(f"place: the dict has no place for '{name}'; give its name, or the module that it is in")
    where = how[max(fitting, key=len)]
    if where not in wheres:
        raise ValueError(f"place: '{name}' is to live at {told(where)}; the places are {', '.join(map(str, wheres))}")
    return wheres.index(where)
