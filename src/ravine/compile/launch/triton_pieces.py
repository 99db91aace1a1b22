"""Pieces on CUDA: touched rows, and the runs of shards, as little tensors in Triton's tables."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.compile.emit.triton import BLOCK, COLUMNS
from ravine.compile.launch.pieces import Pieces, Runs
from ravine.compile.launch.rows import Rows
from ravine.compile.launch.triton import Triton


class TritonPieces(Pieces, Triton):
    """A program of the grid for each block of each piece."""

    def lay(self, table: Tensor) -> None:
        counts = (self.lengths + (BLOCK - 1)).div(BLOCK, rounding_mode="floor")
        first = counts.cumsum(0) - counts
        columns = self.columns_of() | {"block": first}
        self.sizes = torch.stack([columns.get(name, torch.zeros_like(counts)) for name in COLUMNS], 1)
        piece = torch.arange(len(counts), device=self.device).repeat_interleave(counts)
        block = torch.arange(len(piece), device=self.device) - first[piece]
        self.blocks = torch.stack([piece, block], 1).to(torch.int32)
        self.programs, self.count_of_pieces = len(piece), len(counts)
        aligned = (table % 16 == 0).all(0)
        self.pointers = torch.cat([table, aligned[None]])

    def kernel(self, k: int) -> None:
        tables = (self.pointers, self.sizes, self.blocks, self.values, self.sums, self.partials, self.count_of_pieces)
        with self.current():
            if self.programs:
                options = {"BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": True}
                self.code[f"kernel{k}"][(self.programs,)](*tables, **options)


class TritonRows(Rows, TritonPieces):
    """Sparse gradients on CUDA."""


class TritonRuns(Runs, TritonPieces):
    """Shards on CUDA."""
