"""Tensors that are walked piece by piece, each piece a little tensor in the launch's tables.

So the same kernels, without a word in them, step the rows that a sparse gradient reaches (rows.py), and the shards of
a distributed tensor whose elements do not lie together in the whole tensor, where noise or stochastic rounding needs
their numbers there (here: Runs).
"""

from __future__ import annotations

from array import array

import torch
from torch import Tensor

from ravine.compile.emit.llvm import COLUMNS
from ravine.compile.geometry import local
from ravine.compile.launch.base import Bound
from ravine.compile.launch.llvm import LLVM
from ravine.compile.launch.phases import Launch
from ravine.compile.plan import Plan


class Pieces(Launch):
    """A launch over pieces. All sizes are counted in real numbers."""

    tensor: Tensor  # of each piece: which of the launch's tensors it is a part of
    lengths: Tensor  # its elements
    offsets: Tensor  # the number of its first element in the whole parameter

    def each(self, known: list[int]) -> Tensor:
        """A number of each tensor, for each of its pieces."""
        if len(known) == 1:
            return torch.full_like(self.tensor, known[0])
        return torch.tensor(known, device=self.tensor.device)[self.tensor]

    def columns_of(self) -> dict[str, Tensor]:
        """What the tables of every backend say of each piece."""
        row, index = self.each([b.row for b in self.bound]), self.each([b.index for b in self.bound])
        return {"n": self.lengths, "row": row, "index": index, "offset": self.offsets}

    def lay(self, table: Tensor) -> None:
        """Take the address of every array of every piece: a line for each array."""
        raise NotImplementedError


class Runs(Pieces):
    """The runs of local elements that lie together in the whole tensor."""

    def __init__(self, plan: Plan, bound: list[Bound]):
        super().__init__(plan, bound)
        device, runs = bound[0].p.device, [b.extent.runs for b in bound]
        self.tensor = torch.arange(len(bound), device="cpu").repeat_interleave(
            torch.tensor([len(x) for x in runs], device="cpu")
        )
        self.tensor = self.tensor.to(device)
        self.offsets, self.lengths = torch.cat(runs).to(device).unbind(1)
        self.before = torch.cat([x[:, 1].cumsum(0) - x[:, 1] for x in runs]).to(device)  # elements of its tensor
        widths = [local(self.array(bound[0], name)).real.element_size() for name in list(self.types)[:-1]]
        self.widths = torch.tensor([*widths, self.gradients.to_real().itemsize], device=device)

    @property
    def ordered(self) -> bool:
        """True: of a shard that lies in another order of dimensions, no run would lie together in memory."""
        return True

    def point(self, addresses: array[int]) -> None:
        table = torch.frombuffer(addresses, dtype=torch.int64).view(-1, len(self.bound)).to(self.tensor.device)
        self.lay(table[:, self.tensor] + self.widths[:, None] * self.before)


class LLVMPieces(Pieces, LLVM):
    """On the CPU: the tables of one call for all pieces."""

    def lay(self, table: Tensor) -> None:
        self.table = table
        self.ends = torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])
        columns = self.columns_of() | {"base": self.ends[:-1]}
        self.little = torch.stack([columns.get(name, torch.zeros_like(self.lengths)) for name in COLUMNS], 1)
        self.threads = 0  # share anew

    def tables(self) -> tuple[int, int, int, int]:
        return self.table.data_ptr(), self.little.data_ptr(), len(self.little), int(self.ends[-1])

    def firsts(self, starts: range) -> int:
        at = torch.arange(starts.start, starts.stop, starts.step, device="cpu")
        self.claims = torch.searchsorted(self.ends, at, right=True) - 1
        return self.claims.data_ptr()


class LLVMRuns(Runs, LLVMPieces):
    """Shards on the CPU."""

    laid = False

    def lay(self, table: Tensor) -> None:
        if self.laid:  # the runs stay what they are: only addresses are new
            self.table.copy_(table)
        else:
            super().lay(table)
            self.laid = True
