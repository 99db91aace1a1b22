"""A model over several devices: the part of it that each runs, and what one sends to another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf, isclose
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ravine.parallel.placement.place import balanced, columns, listed, sizes, told_places, with_tied
from ravine.saved import finite, told

if TYPE_CHECKING:
    from ravine.parallel.placement.traced import Graph

How = Literal["sequential", "greedy", "round_robin"] | Mapping[str, Any]
Cost = Literal["bytes", "flops"] | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """A Send at one device and the Receive at another: of a tensor forward, and of its gradient back, if it has one."""

    tensor: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    source: Any
    target: Any
    bytes: int
    back: int  # bytes of the gradient, which goes from `target` to `source`


class ModelPlacement:
    """Which device runs which modules; it prints as a table, with what is sent between the devices."""

    def __init__(self, graph: Graph, places: Sequence[Any], chosen: Sequence[int]):
        self.graph, self.places, self.chosen = graph, tuple(places), tuple(chosen)

    def at(self, place: Any) -> list[str]:
        """The modules of one device, in the order in which they run."""
        return [x.name for x, i in zip(self.graph.units, self.chosen, strict=True) if self.places[i] == place]

    def parameters(self, place: Any) -> list[str]:
        """The parameters of one device, each by its first name."""
        there = (x for x, i in zip(self.graph.units, self.chosen, strict=True) if self.places[i] == place)
        return [v.name for x in there for v in x.values if v.kind == "parameter"]

    @property
    def bytes(self) -> dict[Any, int]:
        """How many bytes the parameters and buffers of each device have."""
        return self._sums([x.bytes for x in self.graph.units])

    @property
    def flops(self) -> dict[Any, int]:
        """How many floating-point operations each device has in a forward pass over the example."""
        return self._sums([x.flops for x in self.graph.units])

    @property
    def pairs(self) -> list[Pair]:
        """What is sent: each tensor once to each device that reads it and does not have it."""
        found = dict[tuple[int, int], Pair]()
        for edge in self.graph.edges:
            source, target = self.chosen[edge.source], self.chosen[edge.target]
            if source != target:
                x, before = self.graph.values[edge.value], found.get((edge.value, target))
                back = x.bytes if edge.back or (before is not None and before.back) else 0
                name = with_tied(x.name, x.tied)
                ends = self.places[source], self.places[target]
                found[edge.value, target] = Pair(name, x.shape, x.dtype, *ends, x.bytes, back)
        return [*found.values()]

    @property
    def sent(self) -> dict[tuple[Any, Any], int]:
        """How many bytes go from one device to another in a step: activations forward and gradients back."""
        total = dict[tuple[Any, Any], int]()
        for x in self.pairs:
            total[x.source, x.target] = total.get((x.source, x.target), 0) + x.bytes
            if x.back:
                total[x.target, x.source] = total.get((x.target, x.source), 0) + x.back
        return total

    @property
    def cuts(self) -> list[str]:
        """The first module of each device but the first: what torch.distributed.pipelining takes as `split_spec`,
        {name: SplitPoint.BEGINNING}. Raises ValueError if the modules of a device are not consecutive, or if two
        devices read one parameter: torch's pipeline would train a copy in each."""
        changes = [i for i, (a, b) in enumerate(pairwise(self.chosen), 1) if a != b]
        if len(changes) >= len(set(self.chosen)):
            raise ValueError("a device has modules that are not consecutive; a pipeline needs how='sequential'")
        for edge in self.graph.edges:
            x, ends = self.graph.values[edge.value], {self.chosen[edge.source], self.chosen[edge.target]}
            if x.kind == "parameter" and len(ends) > 1:
                raise ValueError(
                    f"{with_tied(x.name, x.tied)} is read on two devices; torch's pipeline would train a copy on each; "
                    "place the modules that share it on one device, or give each a parameter of its own"
                )
        return [self.graph.units[i].name for i in changes]

    def subgraph(self, place: Any) -> str:
        """What one device runs, and its Send and Receive pairs, as a table."""
        if place not in self.places:
            raise ValueError(f"there is no {told(place)} here; the places are {', '.join(map(str, self.places))}")
        return self._table([place], [x for x in self.pairs if place in (x.source, x.target)])

    def __str__(self) -> str:
        return self._table(self.places, self.pairs)

    def _sums(self, amounts: Sequence[int]) -> dict[Any, int]:
        """Amounts of the units, added up for each device."""
        total = dict.fromkeys(self.places, 0)
        for x, i in zip(amounts, self.chosen, strict=True):
            total[self.places[i]] += x
        return total

    def _table(self, places: Sequence[Any], pairs: Sequence[Pair]) -> str:
        rows = [("device", "module", "class", "parameters", "bytes", "flops")]
        for place in places:
            for x, i in zip(self.graph.units, self.chosen, strict=True):
                if self.places[i] == place:
                    name = x.name or "(the model)"
                    rows.append((str(place), name, x.cls, f"{x.parameters:,}", f"{x.bytes:,}", f"{x.flops:,}"))
            rows.append((str(place), "in all", "", "", f"{self.bytes[place]:,}", f"{self.flops[place]:,}"))
        if not pairs:
            return columns(rows, "<<<>>>") + "\n\nnothing is sent"
        sends = [("send → receive", "tensor", "shape", "dtype", "bytes", "gradient back")]
        for x in pairs:
            kind, back = str(x.dtype).removeprefix("torch."), f"{x.back:,}" if x.back else "none"
            sends.append((f"{x.source} → {x.target}", x.tensor, sizes(x.shape), kind, f"{x.bytes:,}", back))
        for ends in dict.fromkeys((x.source, x.target) for x in pairs):
            there = [x for x in pairs if (x.source, x.target) == ends]
            forward, back = sum(x.bytes for x in there), sum(x.back for x in there)
            sends.append((f"{ends[0]} → {ends[1]}", "in all", "", "", f"{forward:,}", f"{back:,}"))
        return f"{columns(rows, '<<<>>>')}\n\n{columns(sends, '<<<<>>')}"


def place_model(
    model: nn.Module,
    example: Any,
    places: int | Sequence[Any],
    how: How = "sequential",
    *,
    cost: Cost = "bytes",
    slack: float = 0.1,
    whole: Sequence[type[nn.Module]] = (),
) -> ModelPlacement:
    """Which device should run which module, and what the devices then send to each other.

        >>> import torch
        >>> from ravine.parallel import place_model
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 8))
        >>> print(place_model(model, torch.ones(4, 8), ["cuda:0", "cuda:1"]))
        device  module  class   parameters  bytes  flops
        cuda:0  0       Linear          54    216    384
        cuda:0  in all                        216    384
        cuda:1  1       ReLU             0      0      0
        cuda:1  2       Linear          56    224    384
        cuda:1  in all                        224    384
        <BLANKLINE>
        send → receive   tensor    shape  dtype    bytes  gradient back
        cuda:0 → cuda:1  0: addmm  4×6    float32     96             96
        cuda:0 → cuda:1  in all                       96             96

    It returns a table. It moves nothing, needs none of the devices, and computes no numbers (`trace`). Where an
    operation reads a tensor of another device, there is a pair of Send and Receive, and in the backward pass one in the
    other direction for the gradient, as in TensorFlow's graphs. A tensor is sent to a device once, however many
    operations read it there. The numbers are for one pass over the example.

    model: any module whose forward does not depend on the numbers in tensors; on the "meta" device too.
    example: what forward takes: a tensor, a tuple of arguments, or a dict of arguments by name.
    places: devices, or any names; or a number.
    how: "sequential": consecutive modules for each device, in the order in which they first run. The largest share is
        as small as it can be, or up to `slack` larger if fewer bytes then cross between devices. "greedy": the
        costliest module first, each to the device with the smallest share so far (LPT). "round_robin": in turn. With
        these two, a module that costs nothing goes with the one before it. Or a dict {module, or one around it: place}.
    cost: what is balanced: "bytes" of parameters and buffers, "flops" of the forward pass, or a dict {module: number}
        of your own measurements; a module that it leaves out costs nothing.
    slack: 0.1 allows the largest share to be 10 % larger; 0 takes the best balance, whatever crosses between devices.
    whole: classes of modules that stay on one device, such as [nn.TransformerEncoderLayer]. Other modules are placed
        one by one, down to those in which no other runs.

    A parameter that two modules share (tied) is placed once, with the module that reads it first; if another device
    reads it, the parameter itself is sent. After a write into a part of a tensor (x[0] = y), the table does not show
    that later readers of x need the result.

    TensorFlow's placer estimates when each device would finish, by a model of costs (Abadi et al. 2016, 3.2.1). This
    one balances costs and counts bytes.

    Raises ValueError if the model does not run on the example, if there are more devices than modules, or if a dict
    leaves a module out or names one that does not run.

    Abadi et al. 2016, sections 3.2.1 and 3.2.2    https://arxiv.org/abs/1603.04467
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"place_model: model is {told(model)}; it must be an nn.Module")
    wheres, slack = listed("place_model", places), finite("place_model: slack", slack, 0.0, 1e9, where="")
    if not isinstance(whole, list | tuple) or not all(isinstance(x, type) and issubclass(x, nn.Module) for x in whole):
        raise TypeError(f"place_model: whole is {told(whole)}; it must be a list of classes of modules")
    from ravine.parallel.placement.traced import trace  # which imports much of torch

    graph = trace(model, example, tuple(whole))
    names = [x.name for x in graph.units]
    if len(names) < len(wheres) and not isinstance(how, Mapping):
        raise ValueError(
            f"place_model: there are {len(wheres)} devices, and {len(names)} modules of the model run; give at most "
            f"{len(names)} devices"
        )
    costs = _costs(graph, cost)
    if isinstance(how, Mapping):
        return ModelPlacement(graph, wheres, told_places("place_model", names, how, wheres))
    if how == "sequential":
        return ModelPlacement(graph, wheres, _stretches(costs, _crossing(graph), len(wheres), slack))
    if how not in ("greedy", "round_robin"):
        known = "'sequential', 'greedy', 'round_robin' or a dict {module: place}"
        raise ValueError(f"place_model: how is {told(how)}; it must be {known}")
    dear = [i for i, x in enumerate(costs) if x > 0] or [0]
    count = len(wheres)
    own = balanced([costs[i] for i in dear], count) if how == "greedy" else [i % count for i in range(len(dear))]
    return ModelPlacement(graph, wheres, [own[max(0, bisect_right(dear, i) - 1)] for i in range(len(costs))])


def _costs(graph: Graph, cost: Cost) -> list[float]:
    """What each unit costs."""
    if isinstance(cost, Mapping):
        names = [x.name for x in graph.units]
        if unknown := [k for k in cost if k not in names]:
            raise ValueError(f"place_model: cost has {told(unknown[0])}, and no module that runs is called so")
        return [finite(f"place_model: cost of '{k}'", cost.get(k, 0.0), 0.0, 1e300, where="") for k in names]
    if cost not in ("bytes", "flops"):
        raise ValueError(f"place_model: cost is {told(cost)}; it must be 'bytes', 'flops' or a dict {{module: number}}")
    return [float(getattr(x, cost)) for x in graph.units]


def _crossing(graph: Graph) -> list[int]:
    """The bytes that cross a cut before each unit: of values that are on one side and read on the other."""
    over = [0] * (len(graph.units) + 1)
    last = dict[int, tuple[int, int]]()
    for x in graph.edges:
        low, high = last.get(x.value, (x.source, x.source))
        last[x.value] = min(low, x.target), max(high, x.target)
    for value, (low, high) in last.items():
        over[low + 1] += graph.values[value].bytes
        over[high + 1] -= graph.values[value].bytes
    return list(accumulate(over))[:-1]


def _stretches(costs: Sequence[float], crossing: Sequence[int], count: int, slack: float) -> list[int]:
    """Units 0 to n in `count` stretches: none larger than needed and the slack, then the fewest bytes over the cuts."""
    sums = [0.0, *accumulate(costs)]
    most = _least(costs, count) * (1 + slack)
    n = len(costs)
    best = [[(inf, inf, 0)] * (n + 1) for _ in range(count + 1)]  # (bytes over cuts, largest stretch, where it begins)
    best[0][0] = (0.0, 0.0, 0)
    for k in range(1, count + 1):
        for end in range(k, n - (count - k) + 1):
            first = max(k - 1, bisect_left(sums, sums[end] - most * (1 + 1e-12)))
            for start in range(first, end):
                bytes_, largest, _ = best[k - 1][start]
                made = (bytes_ + (crossing[start] if start else 0), max(largest, sums[end] - sums[start]), start)
                best[k][end] = min(best[k][end], made)
    chosen, end = [0] * n, n
    for k in range(count, 0, -1):
        start = best[k][end][2]
        chosen[start:end] = [k - 1] * (end - start)
        end = start
    return chosen


def _least(costs: Sequence[float], count: int) -> float:
    """The smallest possible largest stretch."""
    low, high = max(costs), sum(costs)
    while not isclose(low, high, rel_tol=1e-13) and low < (middle := (low + high) / 2) < high:
        stretches, load = 1, 0.0
        for x in costs:
            stretches, load = (stretches + 1, x) if load + x > middle else (stretches, load + x)
        low, high = (low, middle) if stretches <= count else (middle, high)
    return high
