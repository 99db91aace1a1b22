"""Where the elements of a shard lie in the whole tensor: as torch cuts it, whatever its shape, mesh and placements."""

from itertools import product
from random import Random

import pytest
import torch
from torch import Tensor

from ravine.compile.geometry import Extent, chunk, here, together

placement_types = pytest.importorskip("torch.distributed.tensor.placement_types")
Shard, Replicate, Strided = (getattr(placement_types, k) for k in ("Shard", "Replicate", "_StridedShard"))


class Mesh:
    """A mesh of these sizes, and where on it this process is."""

    def __init__(self, sizes: tuple[int, ...], rank: tuple[int, ...] | None):
        self.sizes, self.rank = sizes, rank

    def get_coordinate(self):
        return self.rank

    def size(self, axis: int) -> int:
        return self.sizes[axis]


class Placed:
    """What Extent asks a distributed tensor: here the part of a plain one that torch cuts for this process."""

    def __init__(self, whole: Tensor, mesh: Mesh, placements: tuple):
        self.shape, self.device_mesh, self.placements = whole.shape, mesh, placements
        self.is_complex, self.dim = whole.is_complex, whole.dim
        for axis, place in enumerate(placements):
            if not place.is_replicate():
                whole = place._split_tensor(whole, mesh.size(axis), with_padding=False)[0][mesh.rank[axis]]
        self._local_tensor = whole


def numbered(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor in which each real number is its place."""
    whole = torch.Size(shape).numel()
    if dtype.is_complex:
        return torch.view_as_complex(torch.arange(2.0 * whole, dtype=dtype.to_real()).view(*shape, 2))
    return torch.arange(whole, dtype=dtype).view(shape)


def placed_at_random(chance: Random, shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple:
    """A placement for each axis of the mesh."""
    kinds = [Replicate, *(lambda d=d: Shard(d) for d in range(len(shape)))]
    kinds += [lambda d=d: Strided(d, split_factor=chance.randint(1, 4)) for d in range(len(shape))]
    return tuple(chance.choice(kinds)() for _ in sizes)


@pytest.mark.parametrize("seed", range(6))
def test_elements_are_numbered_as_in_the_whole_tensor(seed: int):
    chance = Random(seed)
    for _ in range(60):
        shape = tuple(chance.choice((0, 1, 2, 3, 5, 8)) for _ in range(chance.randint(0, 3)))
        sizes = tuple(chance.randint(1, 4) for _ in range(chance.randint(1, 3)))
        placements, dtype = placed_at_random(chance, shape, sizes), chance.choice((torch.float64, torch.complex128))
        whole, seen = numbered(shape, dtype), []
        for rank in product(*map(range, sizes)):
            x = Placed(whole, Mesh(sizes, rank), placements)
            extent, where = Extent.of(x), f"{shape} {sizes} {placements} {rank}"
            part = x._local_tensor
            real = torch.view_as_real(part) if dtype.is_complex else part
            expected = real.flatten().long().tolist()
            assert extent.numbers().tolist() == expected, where
            assert extent.shape == tuple(real.shape), where
            runs = extent.runs.tolist()
            assert [i for first, n in runs for i in range(first, first + n)] == expected, where
            assert all(n > 0 for _, n in runs), where
            if (first := extent.offset) is None:
                assert expected != list(range(expected[0], expected[0] + len(expected))), where
            elif expected:
                assert expected == list(range(first, first + len(expected))), where
            seen += expected
        assert set(seen) == set(range(whole.numel() * (2 if dtype.is_complex else 1)))
        assert extent.complete == all(p.is_replicate() or n == 1 for p, n in zip(placements, sizes, strict=True))


def test_long_runs_are_few():
    mesh = Mesh((2, 2), (1, 0))
    assert Extent.of(Placed(torch.empty(6, 4), mesh, (Shard(0), Replicate()))).runs.tolist() == [[12, 12]]
    assert Extent.of(Placed(torch.empty(3, 4), mesh, (Shard(1), Replicate()))).runs.tolist() == [
        [2, 2],
        [6, 2],
        [10, 2],
    ]
    strided = Extent.of(Placed(torch.empty(8, 4), mesh, (Strided(0, split_factor=2), Replicate())))
    assert strided.runs.tolist() == [[8, 8], [24, 8]]
    assert strided.offset is None


def test_chunks_and_stretches():
    for n, count in product(range(9), range(1, 6)):
        parts = [list(chunk(range(n), count, i)) for i in range(count)]
        cut = [x.tolist() for x in torch.arange(n).chunk(count)]
        assert parts == cut + [[]] * (count - len(cut)), (n, count)
    assert together([0, 1, 2, 5, 7, 8]) == [(0, 3), (5, 1), (7, 2)]
    assert together(range(4, 9)) == [(4, 5)]
    assert list(here(6, [(0, Shard(0))], Mesh((2,), None))) == []  # a process that is not of the mesh


@pytest.mark.parametrize(
    ("shape", "sizes", "placements", "whole"),
    [
        ((8, 512), (2,), (Shard(0),), True),
        ((8, 512), (2,), (Replicate(),), True),
        ((8, 512), (2, 2), (Replicate(), Shard(0)), True),
        ((8, 512), (2, 2), (Shard(0), Shard(0)), False),
        ((8, 512), (2,), (Shard(1),), False),
        ((8, 512), (2, 2), (Strided(0, split_factor=2), Shard(0)), False),
        ((6, 128), (2,), (Shard(0),), False),
        ((7, 128), (2,), (Shard(0),), True),  # the last block is a part of one in the whole tensor too
        ((5, 1024), (4,), (Shard(0),), False),  # 2, 2, 1, 0 rows, and scales in 5, 5, 5, 5
    ],
)
def test_blocks_lie_whole_in_shards(shape, sizes, placements, whole):
    extents = [Extent.of(Placed(torch.empty(shape), Mesh(sizes, r), placements)) for r in product(*map(range, sizes))]
    assert [x.whole_blocks(256) for x in extents] == [whole] * len(extents)
    if whole:  # the scales are cut by torch as the blocks are
        blocks = -(-torch.Size(shape).numel() // 256)
        for x in extents:
            scales = Placed(torch.empty(blocks), x.mesh, placements)
            assert scales._local_tensor.numel() == -(-len(x.numbers()) // 256)


def test_what_is_not_known_is_refused():
    placed = Placed(torch.empty(10, 2), Mesh((2,), (0,)), (Shard(0),))
    placed._local_tensor = placed._local_tensor[:3]
    with pytest.raises(
        ValueError, match=r"has \(3, 2\) of \(10, 2\) on this process, where torch would place \(5, 2\)"
    ):
        Extent.of(placed)
    placed = Placed(torch.empty(4), Mesh((2,), (0,)), (Replicate(),))
    placed.placements = (placement_types.Partial(),)
    with pytest.raises(ValueError, match="these are not its values yet"):
        Extent.of(placed)
