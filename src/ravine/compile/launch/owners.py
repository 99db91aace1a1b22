"""Matrix work on tensors of which each process has a part: every tensor has an owner, to whom all send their parts, who
works on the whole, and who sends each what is its part of the result. Two exchanges a phase, for all tensors together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.compile.expr import Shape
from ravine.compile.geometry import Extent, View

Array = tuple[Shape, torch.dtype]
Sizes = tuple[list[int], torch.dtype]


class Owners:
    """Who works on which tensor: each goes to the process with the fewest numbers so far, the largest first, so that
    work is even. Ties begin at `first`, so that tensors that step one by one (gradient release) are spread too."""

    def __init__(self, extents: Mapping[int, Extent], view: View, device: torch.device, first: int):
        self.extents, self.view = extents, view
        some = next(iter(extents.values()))
        (axis,) = some.cut()
        self.group = some.mesh.get_group(axis)
        self.rank, count = some.mesh.get_coordinate()[axis], some.mesh.size(axis)
        self.ranks = range(count)
        self.parts = {i: [x.elsewhere(axis, rank) for rank in self.ranks] for i, x in extents.items()}
        load, self.owner = [0] * count, dict[int, int]()
        for i in sorted(extents, key=lambda i: (-torch.Size(extents[i].whole).numel(), i)):
            self.owner[i] = min(self.ranks, key=lambda rank: (load[rank], (rank - first) % count))
            load[self.owner[i]] += torch.Size(extents[i].whole).numel()
        self.mine = [i for i in extents if self.owner[i] == self.rank]
        self.nothing = torch.empty(0, dtype=torch.uint8, device=device)

    @staticmethod
    def serve(extents: Iterable[Extent]) -> bool:
        """True where tensors lie in stretches of one dimension over the processes of one axis of a mesh."""
        kinds = {(x.mesh, tuple(x.cut())) for x in extents}
        plain = all(isinstance(index, range) for x in extents for index in x.index)
        return plain and len(kinds) == 1 and all(len(axes) == 1 and mesh.get_coordinate() for mesh, axes in kinds)

    def gather(self, arrays: Mapping[int, Sequence[Tensor]], kinds: Sequence[Array]) -> dict[int, list[Tensor]]:
        """The whole arrays of this process's tensors, from the parts of all."""
        to = [[x for i in arrays if self.owner[i] == rank for x in arrays[i]] for rank in self.ranks]
        found = self.exchange(to, [self.sizes(self.mine, kinds, s) for s in self.ranks])
        out = dict[int, list[Tensor]]()
        for n, i in enumerate(self.mine):
            out[i] = []
            for k, (shape, dtype) in enumerate(kinds, n * len(kinds)):
                whole = torch.empty(self.extents[i].sizes(shape, self.view), dtype=dtype, device=arrays[i][0].device)
                for s in self.ranks:
                    self.at(whole, i, shape, s).copy_(found[s][k])
                out[i].append(whole)
        return out

    def scatter(self, made: Mapping[int, Sequence[Tensor]], kinds: Sequence[Array]) -> dict[int, list[Tensor]]:
        """What is here of the results of all tensors, from their owners, who have them whole."""
        whole = [
            (i, shape, x.reshape(self.extents[i].sizes(shape, self.view)))
            for i in self.mine
            for x, (shape, _) in zip(made[i], kinds, strict=True)
        ]
        theirs = [[i for i in self.extents if self.owner[i] == s] for s in self.ranks]
        found = self.exchange(
            [[self.at(x, i, shape, rank) for i, shape, x in whole] for rank in self.ranks],
            [self.sizes(listed, kinds, self.rank) for listed in theirs],
        )
        parts = [iter(x) for x in found]
        return {i: [next(parts[s]) for _ in kinds] for s, listed in enumerate(theirs) for i in listed}

    def agree(self, failed: bool) -> bool:
        """Whether the work of any process has failed: then no one waits for its results."""
        flag = torch.tensor([float(failed)], device=self.nothing.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX, self.group)  # pyright: ignore[reportUnknownMemberType]
        return bool(flag.item())

    def sizes(self, tensors: Sequence[int], kinds: Sequence[Array], rank: int) -> list[Sizes]:
        """Of what a process has of such arrays beside these tensors."""
        return [(self.parts[i][rank].sizes_here(shape, self.view), d) for i in tensors for shape, d in kinds]

    def at(self, whole: Tensor, i: int, shape: Shape, rank: int) -> Tensor:
        """What a process has of a whole array beside tensor i."""
        part, own = self.parts[i][rank], self.extents[i]
        for d, kept in enumerate(own.kept(shape, self.view)):
            if kept and len(part.index[d]) != own.whole[d]:
                index = part.index[d]
                whole = whole.narrow(d, index[0] if len(index) else 0, len(index))
        return whole

    def exchange(self, to: Sequence[Sequence[Tensor]], sizes: Sequence[Sequence[Sizes]]) -> list[list[Tensor]]:
        """Send tensors to each process, and take those of these sizes from each."""
        packed = [[x.contiguous().view(-1).view(torch.uint8) for x in listed] for listed in to]
        given = torch.cat([self.nothing, *(x for listed in packed for x in listed)])
        lengths = [[torch.Size(size).numel() * dtype.itemsize for size, dtype in listed] for listed in sizes]
        taken = self.nothing.new_empty(sum(map(sum, lengths)))
        dist.all_to_all_single(taken, given, [*map(sum, lengths)], [sum(map(len, x)) for x in packed], self.group)  # pyright: ignore[reportUnknownMemberType]
        parts = iter(torch.split(taken, [n for listed in lengths for n in listed]))
        return [[next(parts).clone().view(dtype).view(size) for size, dtype in listed] for listed in sizes]
