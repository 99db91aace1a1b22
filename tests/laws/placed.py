"""One of several processes: what a distributed parameter and its states become is, bit for bit, their part of what the
whole ones become in one process. test_sharded.py starts it, with the rank, the world and a file to meet at."""

import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard

import ravine
from ravine import mods
from ravine.compile.geometry import local
from ravine.words import cols, norm, zeros

SHAPES = [(7, 6), (1, 5), (5,), (), (3, 4, 2), (0, 3), (2, 3, 5), (160, 24)]
RULES: dict[str, tuple[type, torch.dtype, dict[str, Any]]] = {
    "bf16 states": (ravine.AdamW, torch.float32, {"storage": "bf16"}),
    "8 bits beside": (ravine.AdamW, torch.bfloat16, {"master_bits": 8}),
    "rounded by chance": (ravine.AdamW, torch.bfloat16, {"master_bits": 0}),
    "noise": (ravine.SGD, torch.float32, {"mods": [mods.GradientNoise()]}),
    "complex noise": (ravine.SGD, torch.complex64, {"mods": [mods.GradientNoise()]}),
}
Mesh, Placements = DeviceMesh, Sequence[Placement]


class PerColumn(ravine.Optimizer):
    """Asks the size of a row."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        return p - self.lr / cols(p) * g


class FromNorm(ravine.Optimizer):
    """Begins with a sum over the whole tensor."""

    lr: float = 0.1

    def init(self, s, p):
        s.m = zeros(p) + norm(p)

    def update(self, s, p, g, t):
        s.m = s.m + g
        return p - self.lr * s.m


class Whitened(ravine.Optimizer):
    """Multiplies matrices."""

    lr: float = 0.1

    def update(self, s, p, g, t):
        return p - self.lr * (g @ g.T @ g)


def random(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Tensor:
    """Numbers that are the same in every process."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def part(x: Tensor, mesh: Mesh, placements: Placements) -> DTensor:
    """The part of a tensor that belongs here, cut without a word to other processes."""
    return distribute_tensor(x.clone(), mesh, placements, src_data_rank=None)


def fitting(shape: Sequence[int], placements: Placements) -> bool:
    """True if the tensor has the dimensions that are cut."""
    return all(getattr(x, "dim", -1) < len(shape) for x in placements)


def steps(opt: torch.optim.Optimizer, grads: Callable[[int, int], Tensor], count: int = 3, first: int = 0) -> None:
    """Steps with the gradients that grads(step, parameter) gives."""
    for t in range(first, first + count):
        for i, p in enumerate(opt.param_groups[0]["params"]):
            p.grad = grads(t, i)
        opt.step()


def states(opt: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    """The arrays of each parameter, itself among them."""
    params = opt.param_groups[0]["params"]
    return [
        {"p": p.detach()} | {k: x for k, x in opt.state[p].items() if x.dim() or x.shape == p.shape} for p in params
    ]


def same(placed: torch.optim.Optimizer, whole: torch.optim.Optimizer, where: str) -> None:
    """Parameters and states are their parts of the whole ones."""
    for a, b in zip(states(placed), states(whole), strict=True):
        mesh, placements = a["p"].device_mesh, a["p"].placements
        assert a.keys() == b.keys(), where
        for k in sorted(a.keys() - {"step"}):
            assert a[k].placements == placements, (where, k)
            assert a[k].dtype == b[k].dtype, (where, k, a[k].dtype)
            assert torch.equal(a[k].to_local(), part(b[k], mesh, placements).to_local()), (where, k, a["p"].shape)


def equal(mesh: Mesh, placements: Placements, rule: str, backend: str | None) -> None:
    """All shapes as parameters of one optimizer."""
    cls, dtype, options = RULES[rule]
    shapes = [x for x in SHAPES if fitting(x, placements)]
    weights = [random(x, dtype, i) for i, x in enumerate(shapes)]

    def gradient(t: int, i: int) -> Tensor:
        return random(shapes[i], dtype, 100 * t + i)

    made = {"lr": 0.05, "seed": 4, "backend": backend} | options
    whole = cls([torch.nn.Parameter(w.clone()) for w in weights], **made)
    placed = cls([torch.nn.Parameter(part(w, mesh, placements)) for w in weights], **made)
    steps(whole, gradient)
    steps(placed, lambda t, i: part(gradient(t, i), mesh, placements))
    same(placed, whole, f"{rule} {placements} {backend}")


def in_another_order_of_memory(mesh: Mesh) -> None:
    """A shard that lies column after column in memory draws as one that lies row after row."""
    w, placements = random((6, 8), torch.float32, 1), [Shard(1)] * mesh.ndim

    def turned(x: Tensor) -> DTensor:
        here = part(x, mesh, placements).to_local().t().contiguous().t()
        return DTensor.from_local(here, mesh, placements, run_check=False, shape=x.shape, stride=x.stride())

    for backend in (None, "reference"):
        made = {"storage": "bf16", "seed": 2, "backend": backend}
        placed, whole = one(ravine.AdamW, turned(w), **made), one(ravine.AdamW, w.clone(), **made)
        (p,) = placed.param_groups[0]["params"]
        assert not local(p).is_contiguous()
        steps(placed, lambda t, i: turned(w + t))
        steps(whole, lambda t, i: w + t)
        same(placed, whole, f"columns, {backend}")


@contextmanager
def refused(*words: str):
    """A RuntimeError that says all of this."""
    try:
        yield
    except RuntimeError as error:
        assert type(error) is RuntimeError, repr(error)
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(words)


def one(cls: type, p: Tensor, **options: Any) -> torch.optim.Optimizer:
    """An optimizer of one parameter."""
    return cls([torch.nn.Parameter(p)], lr=0.05, **options)


def gradients_of_other_placements(mesh: Mesh) -> None:
    """They are brought to their parameter's placements; a partial sum is added up."""
    w, g = random((6, 4), torch.float32, 1), random((6, 4), torch.float32, 2)
    mine = torch.zeros_like(g) if dist.get_rank() else g
    partial = [Partial()] * mesh.ndim
    for to in ([Replicate()] * mesh.ndim, [Shard(0)] * mesh.ndim, [Shard(1)] * mesh.ndim):
        for backend in (None, "reference"):
            for n, given in enumerate(
                [
                    lambda: DTensor.from_local(mine, mesh, partial, run_check=False),
                    lambda: part(g, mesh, [Shard(0)] * mesh.ndim),
                    lambda to=to: part(g, mesh, [Shard(0)] * mesh.ndim).redistribute(placements=to, async_op=True),
                ]
            ):
                opt = one(ravine.AdamW, part(w, mesh, to), backend=backend)
                whole = one(ravine.AdamW, w.clone(), backend=backend)
                steps(opt, lambda t, i, given=given: given())
                steps(whole, lambda t, i: g)
                same(opt, whole, f"gradient {n} for {to} by {backend}")


def refusals(mesh: Mesh) -> None:
    """One error by name, and nothing has changed."""
    w, ndim = random((6, 4), torch.float32, 1), mesh.ndim
    shard, replicate = [Shard(0)] * ndim, [Replicate()] * ndim

    def tried(opt: torch.optim.Optimizer, g: Tensor, *words: str) -> None:
        (p,) = opt.param_groups[0]["params"]
        before, kept = local(p).clone(), [(k, local(x).clone()) for k, x in opt.state[p].items()]
        p.grad = g
        with refused("parameter 0 of shape (6, 4)", *words):
            opt.step()
        assert torch.equal(local(p), before)
        assert [k for k, _ in kept] == list(opt.state[p])
        assert all(torch.equal(local(opt.state[p][k]), x) for k, x in kept)

    g = part(w, mesh, shard)
    tried(
        one(ravine.AdamW, DTensor.from_local(w, mesh, [Partial()] * ndim, run_check=False)),
        g,
        "AdamW",
        "P(sum)",
        "redistribute",
    )
    tried(one(ravine.AdamW, part(w, mesh, shard)), w, "AdamW", "its gradient not distributed")
    tried(one(ravine.AdamW, part(w, mesh, replicate)), w, "AdamW", "its gradient not distributed")
    opt = one(ravine.AdamW, part(w, mesh, shard))
    steps(opt, lambda t, i: g)
    (p,) = opt.param_groups[0]["params"]
    opt.state[p]["exp_avg"] = opt.state[p]["exp_avg"].redistribute(placements=replicate)
    tried(opt, g, "its state exp_avg placed by Replicate()")

    for cls in (ravine.LAMB, ravine.Adafactor, PerColumn, FromNorm, Whitened):  # whole tensors, in every process
        placed, whole = one(cls, part(w, mesh, replicate)), one(cls, w.clone())
        steps(placed, lambda t, i: part(w, mesh, replicate))
        steps(whole, lambda t, i: w)
        (a,), (b,) = placed.param_groups[0]["params"], whole.param_groups[0]["params"]
        assert torch.equal(a.to_local(), b), cls
    for cls in (PerColumn, FromNorm, Whitened):  # sizes and a start that are those of the whole tensor
        for backend in (None, "reference"):
            placed, whole = one(cls, part(w, mesh, shard), backend=backend), one(cls, w.clone(), backend=backend)
            steps(placed, lambda t, i: g)
            steps(whole, lambda t, i: w)
            same(placed, whole, f"{cls.__name__} {backend}")


def blocks(mesh: Mesh, placements: Placements, coded: bool) -> None:
    """int8 states where shards have whole blocks, and they can be saved and loaded; others are in float32."""
    w = random((40, 256), torch.float32, 1)

    def gradient(t: int, i: int) -> Tensor:
        return random(w.shape, w.dtype, 50 + t)

    def cut(t: int, i: int) -> Tensor:
        return part(gradient(t, i), mesh, placements)

    made = {"storage": "int8", "seed": 3}
    placed, whole = one(ravine.AdamW, part(w, mesh, placements), **made), one(ravine.AdamW, w.clone(), **made)
    steps(placed, cut)
    steps(whole, gradient)
    (p,) = placed.param_groups[0]["params"]
    state = placed.state[p]
    assert state["exp_avg"].dtype == (torch.int8 if coded else torch.float32), placements
    if not coded:
        return
    same(placed, whole, f"int8 {placements}")
    again = one(ravine.AdamW, p.detach().clone(), **made)
    again.load_state_dict(placed.state_dict())
    steps(again, cut, 2, first=3)
    steps(whole, gradient, 2, first=3)
    same(again, whole, f"int8 {placements}, loaded")

    numbers = whole.state_dict(decoded=True)["state"][0]["exp_avg"]
    said = again.state_dict(decoded=True)["state"][0]["exp_avg"]
    assert torch.equal(said.to_local(), part(numbers, mesh, placements).to_local())
    elsewhere = one(ravine.AdamW, part(w, mesh, [Shard(1)] * mesh.ndim), **made)
    elsewhere.load_state_dict(again.state_dict())
    (q,) = elsewhere.param_groups[0]["params"]
    there = elsewhere.state[q]["exp_avg"]
    assert torch.equal(there.to_local(), part(numbers, mesh, there.placements).to_local())


def over_tensor_parallelism(rows: int) -> None:
    """FSDP2 cuts what tensor parallelism has cut already: the rows of a process do not lie together."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, rows, bias=False)
    w = layer.weight.detach().clone()
    model = torch.nn.Sequential(layer)
    parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel()})
    fully_shard(model, mesh=mesh["data"])
    (p,) = model.parameters()
    assert any(isinstance(x, _StridedShard) for x in p.placements), p.placements
    lies = torch.equal(p.to_local(), part(w, p.device_mesh, p.placements).to_local())

    def gradient(t: int, i: int) -> Tensor:
        return random(w.shape, w.dtype, 50 + t)

    placed = ravine.AdamW([p], storage="bf16", seed=5)
    whole = ravine.AdamW([torch.nn.Parameter(w)], storage="bf16", seed=5)
    assert lies
    steps(placed, lambda t, i: part(gradient(t, i), p.device_mesh, p.placements))
    steps(whole, gradient)
    same(placed, whole, f"FSDP over tensor parallelism, {rows} rows")


def recorded(mesh: Mesh) -> None:
    """Steps without the host know no runs: they say so."""
    w = random((6, 4), torch.float32, 1)
    for place in (Shard(0), Shard(1)):
        opt = one(ravine.AdamW, part(w, mesh, [place]), storage="bf16", capturable=True, backend="triton")
        if place.dim:
            with refused("parameter 0 of shape (6, 4)", "capturable=True"):
                steps(opt, lambda t, i: part(w, mesh, [Shard(1)]))
        else:
            steps(opt, lambda t, i: part(w, mesh, [Shard(0)]))


def main(rank: int, world: int, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    line = init_device_mesh("cpu", (world,))
    grid = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("outer", "inner"))
    cases: list[tuple[Mesh, Placements]] = [(grid, (Replicate(), Shard(1))), (grid, (Shard(0), Shard(1)))]
    if world == 2:
        cases = [(line, (x,)) for x in (Shard(0), Shard(1), Replicate(), _StridedShard(0, split_factor=3))]
        cases += [(grid, (Replicate(), Shard(0)))]
    else:
        cases += [(grid, (Shard(0), Shard(0))), (grid, (Shard(1), Shard(0))), (grid, (Replicate(), Replicate()))]
        cases += [(grid, (_StridedShard(0, split_factor=2), Shard(0)))]
    for mesh, placements in cases:
        for rule in RULES:
            equal(mesh, placements, rule, None)
        equal(mesh, placements, "bf16 states", "reference")
        equal(mesh, placements, "noise", "reference")
    in_another_order_of_memory(line)
    gradients_of_other_placements(line)
    refusals(line)
    blocks(grid, (Replicate(), Shard(0)), True)
    blocks(line, (Shard(0),), True)
    blocks(line, (Shard(1),), False)
    if world == 4:
        blocks(grid, (Shard(0), Shard(0)), False)
        for rows in (8, 7, 5):
            over_tensor_parallelism(rows)
    else:
        if find_spec("triton.language"):
            SHAPES[:] = [(7, 6), (3, 4, 2)]
            equal(line, (Shard(1),), "bf16 states", "triton")
            equal(line, (Shard(1),), "noise", "triton")
            recorded(line)
        SHAPES[:] = [(7, 6), (300, 150)]
        torch.set_num_threads(2)
        equal(line, (Shard(1),), "bf16 states", None)
    print("equal")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
