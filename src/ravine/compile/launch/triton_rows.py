"""Sparse gradients on CUDA: the touched rows as little tensors in Triton's tables."""

from __future__ import annotations

import torch

from ravine.compile.emit.triton import BLOCK, COLUMNS
from ravine.compile.launch.rows import Rows
from ravine.compile.launch.triton import Triton


class TritonRows(Rows, Triton):
    """A program of the grid for each block of each touched row."""

    def lay(self) -> None:
        lengths = self.spread(self.lengths())
        counts = (lengths + (BLOCK - 1)).div(BLOCK, rounding_mode="floor")
        first = counts.cumsum(0) - counts
        columns = {"n": lengths, "row": self.spread([b.row for b in self.bound]), "block": first} | self.places_of()
        self.sizes = torch.stack([columns.get(name, torch.zeros_like(lengths)) for name in COLUMNS], 1)
        tensor = torch.arange(len(lengths), device=self.device).repeat_interleave(counts)
        block = torch.arange(len(tensor), device=self.device) - first[tensor]
        self.blocks = torch.stack([tensor, block], 1).to(torch.int32)
        self.programs, self.tensors = len(tensor), len(lengths)
        table = self.addresses()
        aligned = (table % 16 == 0).all(0)
        self.pointers = torch.cat([table, aligned[None]])

    def kernel(self, k: int) -> None:
        tables = (self.pointers, self.sizes, self.blocks, self.values, self.sums, self.partials, self.tensors)
        with self.current():
            if self.programs:
                options = {"BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": True}
                self.code[f"kernel{k}"][(self.programs,)](*tables, **options)
