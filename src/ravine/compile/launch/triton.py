"""CUDA: one launch a kernel for all tensors, through tables on the device. In Triton's interpreter: the CPU."""

from __future__ import annotations

import linecache
import re
from array import array
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from hashlib import sha256
from importlib import import_module
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ravine.compile.debug import debug
from ravine.compile.emit.triton import BLOCK, COLUMNS, emit
from ravine.compile.emit.triton.rows import SHARE, tall
from ravine.compile.expr import COL, FULL
from ravine.compile.geometry import real
from ravine.compile.launch.base import Bound
from ravine.compile.launch.phases import Launch
from ravine.compile.plan import Plan


class Triton(Launch):
    """Tables in the form that the emitted functions walk."""

    recorded = False  # True: the host has no part in it

    def __init__(self, plan: Plan, bound: list[Bound]):
        self.device = bound[0].p.device
        interpreted = ready(self.device)
        super().__init__(plan, bound)
        self.code = load(emit(plan, self.types, interpreted, self.recorded))
        self.after = [
            [finish for name, finish in self.code.items() if re.fullmatch(rf"finish{k}(_\d+)?", name)]
            for k in range(len(plan.kernels))
        ]
        lengths = [real(b.p).numel() for b in bound]
        counts = [-(-n // BLOCK) for n in lengths]
        first = [0, *accumulate(counts)]
        self.programs = first[-1]
        heights = [tall(size["r"], size["c"]) for size in self.sizes_of]
        tiles = [-(-size["r"] // h) if size["c"] else 0 for size, h in zip(self.sizes_of, heights, strict=True)]
        tiled = [size["b"] * count for size, count in zip(self.sizes_of, tiles, strict=True)]
        columns = [0, *accumulate(count * size["c"] for count, size in zip(tiled, self.sizes_of, strict=True))]
        known = {
            "n": lengths,
            "row": [b.row for b in bound],
            "index": [b.index for b in bound],
            "offset": [b.extent.offset or 0 for b in bound],
            "block": first[:-1],
            **{letter: [size[letter] for size in self.sizes_of] for letter in "brc"},
            **{f"whole_{letter}": [size[letter] for size in self.whole_of] for letter in "brc"},
            "tile": [0, *accumulate(tiled)][:-1],
            "tiles": tiles,
            "tall": heights,
            "column": columns[:-1],
        }
        self.sizes = self.send(torch.tensor([known[name] for name in COLUMNS], device="cpu").T.contiguous())
        self.blocks = self.send(parts_of(counts))
        self.rowwise = [plan.rowwise(k) for k in plan.kernels]
        self.tiles = self.send(parts_of(tiled if any(self.rowwise) else []))
        wide = max(sum(x.shape == COL for x in k.sums) for k in plan.kernels)
        self.columns = torch.empty(columns[-1] * wide, dtype=self.compute, device=self.device)
        widest = max(size["b"] * max(size["r"], size["c"]) for size in self.sizes_of)
        self.sharing = max(1, min(64, -(-widest // SHARE)))  # programs for each tensor after the pass
        partials = max(self.programs, len(self.tiles)) * max(len(k.sums) for k in plan.kernels)
        self.partials = torch.empty(partials, dtype=torch.float64, device=self.device)
        self.pointers = torch.empty(len(self.types) + 1, len(bound), dtype=torch.int64, device=self.device)
        values = (1 + max(b.row for b in bound)) * len(plan.numbers)
        self.values = torch.empty(values, dtype=torch.float64, device=self.device)
        self.whole = [i for i, name in enumerate(self.types) if not self.short(name) and plan.shape(name) == FULL]

    def send(self, table: Tensor, to: Tensor | None = None) -> Tensor:
        """A table on the device. Each copy comes from page-locked memory of its own: the host need not wait for it."""
        if self.device.type == "cuda" and table.numel():
            table = table.pin_memory()
        to = torch.empty_like(table, device=self.device) if to is None else to
        return to.copy_(table, non_blocking=True)

    def point(self, addresses: array[int]) -> None:
        table = torch.frombuffer(addresses, dtype=torch.int64).view(-1, len(self.bound))
        aligned = (table[self.whole] % 16 == 0).all(0)  # of each tensor: can its arrays be read 16 bytes at a time?
        self.send(torch.cat([table, aligned[None]]), self.pointers)

    def count(self, numbers: Sequence[float]) -> None:
        self.numbers = numbers
        self.send(torch.tensor(numbers, dtype=torch.float64, device="cpu"), self.values)

    def kernel(self, k: int) -> None:
        # fused multiply-adds are said: Triton's default is about to change
        options: dict[str, Any] = {"num_warps": 4, "enable_fp_fusion": True}
        if self.rowwise[k]:
            grid, sharing, blocks = len(self.tiles), self.sharing, self.tiles
            options["columns"] = self.columns
        else:
            grid, sharing, blocks = self.programs, 1, self.blocks
            options["BLOCK"] = BLOCK
        tables = (self.pointers, self.sizes, blocks, self.values, self.sums, self.partials, len(self.bound))
        with self.current():
            if grid and self.plan.kernels[k].sweeps:
                self.code[f"kernel{k}"][(grid,)](*tables, **options)
            for finish in self.after[k]:
                finish[(len(self.bound), sharing)](*tables, **options)

    def current(self) -> AbstractContextManager[Any]:
        """Triton launches on the current device, whatever device its arguments are on."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()


def parts_of(counts: Sequence[int]) -> Tensor:
    """Lines (tensor, 0), (tensor, 1), … for so many parts of each tensor."""
    each = torch.tensor(counts, dtype=torch.int64, device="cpu")
    tensor = torch.arange(len(each), device="cpu").repeat_interleave(each)
    part = torch.arange(len(tensor), device="cpu") - (each.cumsum(0) - each)[tensor]
    return torch.stack([tensor, part], 1).to(torch.int32)


@cache
def load(source: str) -> dict[str, Any]:
    """The functions of this text. Triton reads their source again through `inspect`, which asks linecache:
    so there is no file that another user could have written."""
    debug(3, source)
    name = f"<ravine triton {sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, name, "exec"), scope)
    return scope


@cache
def interpreting() -> bool:
    """True if Triton was imported with TRITON_INTERPRET=1, which it reads once."""
    try:
        triton: Any = import_module("triton")
    except ImportError as error:
        raise ImportError(
            'backend="triton" needs the package triton, which is not installed: pip install "ravine[gpu]"'
        ) from error
    return not isinstance(import_module("triton.language").sum, triton.JITFunction)


def ready(device: torch.device) -> bool:
    """True in the interpreter, False on a GPU, or one clear error."""
    interpreted = interpreting()
    if interpreted != (device.type == "cpu") or device.type not in ("cpu", "cuda"):
        raise RuntimeError(
            f'backend="triton" cannot run on {device.type} tensors here: it takes CUDA tensors, or CPU tensors in '
            "Triton's slow interpreter, which TRITON_INTERPRET=1 chooses before Python starts "
            f"({'it did' if interpreted else 'it did not'}). Leave backend=None to have the fastest for each device"
        )
    return interpreted
