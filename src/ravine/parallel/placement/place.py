"""Where each parameter lives: on which device, or on which shard of a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ravine.rule.hyper import integer, value_of
from ravine.saved import told

How = Literal["greedy", "round_robin"] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """A parameter, or some of its rows, and where it is. `tied` has the other names of the same tensor."""

    name: str
    start: int
    stop: int  # rows start to stop of `rows`
    rows: int
    shape: tuple[int, ...]  # of the piece
    dtype: torch.dtype
    place: Any
    tied: tuple[str, ...] = ()

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
            rows.append((with_tied(x.name, x.tied), span, sizes(x.shape), f"{x.bytes:,}", str(x.place)))
        rows += [("", "", "", f"{size:,}", f"{place} in all") for place, size in self.bytes.items()]
        return columns(rows, "<<<><")


def place(
    named: Iterable[tuple[str, Tensor]], places: int | Sequence[Any], how: How = "greedy", *, split: bool = False
) -> Placement:
    """Where each of these parameters should live.

        >>> import torch
        >>> from ravine.parallel import place
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.Linear(6, 2))
        >>> print(place(model.named_parameters(), 2))
        parameter  rows  shape  bytes  at
        0.weight   all   6×8      192  0
        0.bias     all   6         24  1
        1.weight   all   2×6       48  1
        1.bias     all   2          8  1
                                  192  0 in all
                                   80  1 in all

    named: (name, tensor), as `model.named_parameters()` gives. A tensor that has several names (tied) is placed once,
        under its first; `tied` of its piece has the others.
    places: devices, such as ["cpu", "cuda:0"], or a number of shards.
    how: "greedy": from the largest to the smallest, each to the place with the fewest bytes so far (LPT, Graham 1969),
        as ZeroRedundancyOptimizer distributes states, by elements; "round_robin": in turn, in the order given, as
        TensorFlow's replica_device_setter did; or a dict {name, or module around it: place}, of which the longest name
        that fits counts.
    split: cut a parameter by rows if it has more than an equal share of all bytes.

    `place_model` places modules. Raises ValueError if a dict names an unknown place or an unknown parameter, or leaves
    a parameter out, and if two parameters have the same name.

    Graham 1969, Bounds on Multiprocessing Timing Anomalies    https://doi.org/10.1137/0117039
    """
    wheres, split = listed("place", places), value_of("place: split", bool, split)
    tensors, tied = _by_name(named)
    cuts = [x for name, p in tensors.items() for x in _cut(name, p, _share(tensors, wheres) if split else None)]
    if isinstance(how, str) and how == "greedy":
        chosen = balanced([x.bytes for x in cuts], len(wheres))
    elif isinstance(how, str) and how == "round_robin":
        chosen = [i % len(wheres) for i in range(len(cuts))]
    elif isinstance(how, Mapping):
        chosen = told_places("place", [x.name for x in cuts], how, wheres)
    else:
        raise ValueError(f"place: how is {told(how)}; it must be 'greedy', 'round_robin' or a dict {{name: place}}")
    placed = [replace(x, place=wheres[i], tied=tied[x.name]) for x, i in zip(cuts, chosen, strict=True)]
    return Placement(placed, wheres)


def balanced(costs: Sequence[float], count: int) -> list[int]:
    """For each cost, which of `count` places has it: the largest first, each where there is least yet."""
    loads: list[float] = [0] * count
    chosen = [0] * len(costs)
    for i in sorted(range(len(costs)), key=lambda i: -costs[i]):
        chosen[i] = min(range(count), key=lambda k: loads[k])
        loads[chosen[i]] += costs[i]
    return chosen


def listed(who: str, places: int | Sequence[Any]) -> list[Any]:
    """Places as a list, each once."""
    if isinstance(places, str) or not (isinstance(places, Iterable) or hasattr(places, "__index__")):
        raise TypeError(f"{who}: places is {told(places)}; it must be a list of devices, or a number of shards")
    wheres = list(places) if isinstance(places, Iterable) else list(range(integer(f"{who}: places", places)))
    if not wheres:
        raise ValueError(f"{who}: places is {told(places)}; there must be one at least")
    if again := [x for i, x in enumerate(wheres) if x in wheres[:i]]:
        raise ValueError(f"{who}: places has {told(again[0])} twice; give each place once")
    return wheres


def told_places(who: str, names: Sequence[str], how: Mapping[str, Any], wheres: Sequence[Any]) -> list[int]:
    """Where a dict says that each name lives: by the name, or the longest beginning of it."""
    if unknown := [k for k in how if not any(_begins(name, k) for name in names)]:
        shown = ", ".join(names[:8]) + ", …" * (len(names) > 8)
        raise ValueError(f"{who}: the dict has {told(unknown[0])}, and nothing is called so; there are {shown}")
    return [_told_place(who, name, how, wheres) for name in names]


def columns(rows: Iterable[Sequence[str]], sides: str) -> str:
    """Rows of words as a table of text; `sides` has < or > for each column."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(sides))]
    lines = ("  ".join(f"{x:{side}{width}}" for x, side, width in zip(row, sides, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def sizes(shape: Sequence[int]) -> str:
    """A shape as a table shows it."""
    return "×".join(map(str, shape)) or "()"


def with_tied(name: str, tied: Sequence[str]) -> str:
    """A name as a table shows it, with the other names of the same tensor."""
    return " = ".join((name, *tied))


def _by_name(named: Iterable[tuple[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Each tensor under its first name, and the other names that it has."""
    tensors, tied, first = dict[str, Tensor](), dict[str, tuple[str, ...]](), dict[int, str]()
    if isinstance(named, torch.nn.Module) or not isinstance(named, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"place: named is {told(named)}; give pairs (name, tensor), as model.named_parameters() does")
    for pair in named:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[1], Tensor):
            raise TypeError(
                f"place: named has {told(pair)}; give pairs (name, tensor), as model.named_parameters() does"
            )
        name, p = pair
        if is_lazy(p):
            raise ValueError(f"place: '{name}' has no shape yet; run the model once on an example before it is placed")
        if name in tied or any(name in others for others in tied.values()):
            raise ValueError(f"place: two parameters are called '{name}'; give each a name of its own")
        if id(p) in first:
            tied[first[id(p)]] += (name,)
        else:
            first[id(p)], tensors[name], tied[name] = name, p, ()
    return tensors, tied


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


def _begins(name: str, beginning: str) -> bool:
    """True if it is the name, or that of a module around it."""
    return beginning in ("", name) or name.startswith(f"{beginning}.")


def _told_place(who: str, name: str, how: Mapping[str, Any], wheres: Sequence[Any]) -> int:
    fitting = [k for k in how if _begins(name, k)]
    if not fitting:
        raise ValueError(f"{who}: the dict has no place for '{name}'; give its name, or the module that it is in")
    where = how[max(fitting, key=len)]
    if where not in wheres:
        raise ValueError(f"{who}: '{name}' is to live at {told(where)}; the places are {', '.join(map(str, wheres))}")
    return wheres.index(where)
