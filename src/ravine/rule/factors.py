"""What the factors of a rule take, before any is made: one error that says where, how much, and the ways out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ravine.compile import Compiled
from ravine.compile.expr import is_matrix, pair
from ravine.compile.geometry import extent
from ravine.rule.hyper import fields

if TYPE_CHECKING:
    from ravine.rule.rule import Rule


def check_sides(who: str, rule: type[Rule], compiled: Compiled, p: Tensor, has: Collection[str] = ()) -> int:
    """The bytes of the factors of p that are not there yet; RuntimeError where one has more rows than the rule takes.

    has: the states of p.
    """
    whole = 0
    for k, x in compiled.program.start.items():
        if x.arg == "input" or not is_matrix(x) or rule.key(k) in has:
            continue
        sizes = extent(p, x.shape, compiled.plan.view)
        size = math.prod(sizes) * max(4, p.dtype.itemsize // (2 if p.is_complex() else 1))
        rows, columns = pair(x.shape)
        if rows == columns and sizes[-1] > rule.largest_factor:
            raise RuntimeError(
                f"{who} needs a factor '{k}' of {' × '.join(map(str, sizes))} numbers, {told(size)}; {rule.__name__} "
                f"makes none of more than {rule.largest_factor} rows, its largest_factor. {ways_out(rule, p, rows)}"
            )
        whole += size
    return whole


def check_memory(who: str, needs: Mapping[type[Rule], int], p: Tensor) -> None:
    """RuntimeError where the factors of rules, of so many bytes, do not fit in what p's device has left."""
    bytes = sum(needs.values())
    left = available(p.device) if bytes else None
    if left is not None and bytes > left:
        names, most = ", ".join(sorted(rule.__name__ for rule in needs)), max(needs, key=lambda rule: needs[rule])
        said = f"the factors of {names} take {told(bytes)}, and {p.device} has {told(left)} left"
        raise RuntimeError(f"{who}: {said}. {ways_out(most, p)}")


def ways_out(rule: type[Rule], p: Tensor, large: str = "r") -> str:
    """What to write where factors are too large."""
    known, ways = fields(rule), list[str]()
    if "sides" in known and p.dim() > 1:
        ways.append(f'sides="{"right" if large == "r" else "left"}" for the factor of the other side alone')
    flat = "Flat" in str(known.get("blocks"))
    if "blocks" in known and (flat or p.dim() > 1):
        block = "Flat(512)" if flat else "Partition(1024)"
        ways.append(f"blocks={block} of ravine.blocks for a factor of each part")
    return f"Ways out: {'; '.join([*ways, 'another rule for such tensors by ravine.Routed'])}"


def told(bytes: float) -> str:
    """How many bytes, to read."""
    return f"{bytes / 1e9:,.1f} GB" if bytes >= 5e7 else f"{bytes / 1e6:,.1f} MB"


def available(device: torch.device) -> int | None:
    """The bytes that can be had on a device; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next((1024 * int(x.split()[1]) for x in file if x.startswith("MemAvailable:")), None)
    except OSError:
        return None
