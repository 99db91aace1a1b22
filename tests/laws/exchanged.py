"""One of several processes: methods that look at whole tensors, or at all of them, move as in one process. Modules that
torch's tools have distributed, and tensors that are cut in all ways. test_exchanged.py starts it, with the rank, the
world, a file to meet at, what to do, the methods, and a folder."""

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from cases import ALL, flags
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import ravine
from ravine import mods
from ravine.blocks import Block, Heads, Partition
from ravine.optimizer.shares import numbers, ordered
from ravine.words import cols, eye, matrix_op, norm, row_total, rows, sqrt, turn, zeros

LOSS = (ravine.MoMo, ravine.MoMoAdam, ravine.ScheduleFreePlus)  # what takes the loss
Case = tuple[str, type, torch.dtype, dict[str, Any]]
SHAPES = [(7, 6), (5,), (), (3, 4, 2), (1, 5), (0, 3), (96, 64)]
MODS = (
    mods.AGC(), mods.Averaging(), mods.Cautious(), mods.Centralize(), mods.ClipNorm(0.5), mods.ClipTensorNorm(0.1),
    mods.ClipValue(0.3), mods.DecoupledDecay(0.1), mods.EMA(), mods.GradientAveraging(), mods.GradientNoise(),
    mods.Grams(), mods.L1(0.01), mods.CautiousDecay(0.1), mods.DecoupledDecay(0.1, "lr2"), mods.Hyperball(),
    mods.RadialBrake(), mods.UpdateFloor(2.0), mods.EMANesterov(), mods.GPA(0.9),
)  # fmt: skip


def methods(names: Sequence[str]) -> Iterator[Case]:
    """Each at its defaults and at other flags."""
    for name in names:
        for i, hyper in enumerate(flags(ALL[name], 2)):
            yield f"{name} {i}", ALL[name], torch.float64, hyper


def options(names: Sequence[str]) -> Iterator[Case]:
    """What any method can wear, on methods that look at elements, tensors, rows and at all tensors."""
    for name in names:
        cls = ALL[name]
        for mod in MODS:
            yield f"{name} {type(mod).__name__}", cls, torch.float64, {"mods": [mod], "seed": 3}
        yield f"{name} skips", cls, torch.float64, {"nonfinite": "skip"}
        yield f"{name} measured", cls, torch.float64, {"measured": True}
        yield f"{name} bf16", cls, torch.float32, {"storage": "bf16", "seed": 3}
        yield from ((f"{name} bits {b}", cls, torch.bfloat16, {"master_bits": b, "seed": 3}) for b in (0, 8, 16))


def alone(cls: type) -> dict[str, Any]:
    """What one process by itself says, where a rule takes the loss."""
    return {"process_group": False} if issubclass(cls, LOSS) else {}


def near(a: Sequence[Tensor], b: Sequence[Tensor], what: str) -> None:
    """Equal to 1e-11 in float64. In float32 a sum of columns may be rounded otherwise, and draws then differ by a bit;
    so does noise, of which each backend has the cosine to float32."""
    bound = {torch.float64: 1e-8 if "Noise" in what else 1e-11, torch.float32: 3e-6, torch.bfloat16: 0.02}
    for x, y in zip(a, b, strict=True):
        x, y = x.detach(), y.detach()
        y = y.full_tensor() if isinstance(y, DTensor) else y
        largest = float(x.abs().max()) if x.numel() else 0.0
        assert torch.allclose(x, y, 0, bound[x.dtype] * max(1.0, largest)), (what, x.shape, float((x - y).abs().max()))


def given(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Tensor:
    """Numbers that are the same in every process."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gradient(p: Tensor, i: int, t: int, bad: bool) -> Tensor:
    """That of parameter i at step t, placed as it is."""
    g = given(p.shape, p.dtype, 100 + 10 * t + i)
    if bad and t == 2 and i == 0:
        g.view(-1)[-1] = math.nan
    return distribute_tensor(g, p.device_mesh, p.placements, src_data_rank=None) if isinstance(p, DTensor) else g


def steps(opt: torch.optim.Optimizer, params: Sequence[Tensor], first: int, count: int, bad: bool = False) -> None:
    """Steps with such gradients."""
    for t in range(first, first + count):
        for i, p in enumerate(params):
            p.grad = gradient(p, i, t, bad)
        opt.step()


def cut(mesh: DeviceMesh, placements: Sequence[Placement], case: Case, backend: str | None) -> None:
    """Tensors of many shapes, cut so."""
    what, cls, dtype, hyper = case
    deepest = max(getattr(x, "dim", -1) for x in placements)
    weights = [given(x, dtype, i) for i, x in enumerate(SHAPES) if deepest < len(x)]
    parts = [distribute_tensor(w.clone(), mesh, placements, src_data_rank=None) for w in weights]
    one, many = [nn.Parameter(w.clone()) for w in weights], [nn.Parameter(w) for w in parts]
    a, b = cls(one, backend=backend, **hyper, **alone(cls)), cls(many, backend=backend, **hyper)
    what = f"{what} {placements} {backend}"
    for opt, params in ((a, one), (b, many)):
        steps(opt, params, 0, 5, "skips" in what)
    near(one, many, what)
    assert a.skipped == b.skipped == int("skips" in what)
    if "measured" in what:
        for name, x in a.metrics().items():
            near([x], [b.metrics()[name]], f"{what}: {name}")
    a.eval(), b.eval()
    near(one, many, f"{what}, to evaluate")


def module(dtype: torch.dtype = torch.float64) -> nn.Module:
    """Layers that no world divides, but for tensor parallelism's."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def distributed(kind: str, world: int) -> tuple[nn.Module, int]:
    """A module, and how many parts the data has."""
    made, grid = module(), init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("data", "tensor"))
    if kind == "DDP":
        return DistributedDataParallel(made), world
    if kind == "FSDP2":
        for layer in (made[0], made[2]):
            fully_shard(layer, mesh=init_device_mesh("cpu", (world,)))
        return fully_shard(made, mesh=init_device_mesh("cpu", (world,))), world
    if kind == "HSDP":
        return fully_shard(made, mesh=grid), world
    parallelize_module(made, grid["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    return (fully_shard(made, mesh=grid["data"]), world // 2) if "FSDP2" in kind else (made, 1)


def trained(kind: str, case: Case, world: int, release: bool) -> None:
    """A module of this kind, each process with its part of the data."""
    what, cls, _, hyper = case
    whole, (many, parts) = module(), distributed(kind, world)
    takes = issubclass(cls, LOSS)
    group = {"process_group": dist.group.WORLD} if takes and (kind == "DDP" or parts < world) else {}
    a, b = cls(whole.parameters(), **hyper, **alone(cls)), cls(many.parameters(), **hyper, **group)
    if release:
        try:
            ravine.release(whole, a), ravine.release(many, b)
        except ValueError:
            return  # needs all gradients before a parameter moves
    for t in range(4):
        x = given((4 * world, 6), torch.float64, t)
        loss = whole(x).square().mean()
        mine = many(x.chunk(parts)[dist.get_rank() * parts // world]).square().mean()
        for opt, f in ((a, loss), (b, mine)):
            f.backward()
            opt.step(**({"loss": f} if takes else {}))
            opt.zero_grad()
    near(list(whole.parameters()), list(many.parameters()), f"{what} in {kind}{', released' * release}")


def under_zero(case: Case) -> None:
    """Each process steps some of the parameters; on the way, all is saved and loaded."""
    what, cls, dtype, hyper = case
    whole, many = module(dtype), module(dtype)
    one, all = list(whole.parameters()), list(many.parameters())
    a, b = cls(one, **hyper, **alone(cls)), ZeroRedundancyOptimizer(all, optimizer_class=cls, **hyper)
    steps(a, one, 0, 6, "skips" in what)
    steps(b, all, 0, 3, "skips" in what)
    b.consolidate_state_dict(0)
    box = [b.state_dict() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(box, 0)
    b = ZeroRedundancyOptimizer(all, optimizer_class=cls, **hyper)
    b.load_state_dict(box[0])
    steps(b, all, 3, 3, "skips" in what)
    near(one, all, f"{what} under ZeRO")
    a.eval(), b.optim.eval()
    near(one, all, f"{what} under ZeRO, to evaluate")
    a.train(), b.optim.train()
    near(one, all, f"{what} under ZeRO, to train")
    if "measured" in what:
        refused(b.optim.metrics, "ZeroRedundancyOptimizer")


def refused(call: Callable[[], object], *words: str) -> None:
    """A RuntimeError that says all of this."""
    try:
        call()
    except RuntimeError as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError(words)


def flat(names: Sequence[str]) -> None:
    """FSDP1 shows flat parameters: what looks at elements moves as in one process, all else is refused."""
    for name in names:
        whole, many = module(), FullyShardedDataParallel(module(), device_id=torch.device("cpu"))
        a, b = ALL[name](whole.parameters()), ALL[name](many.parameters())
        x = given((4, 6), torch.float64, 1)
        for model in (whole, many):
            model(x).square().mean().backward()
        a.step()
        elementwise = name in ("sgd", "adam", "lion", "aggmo", "nadam", "schedulefreeadamw", "sparseadam")
        if not elementwise:
            refused(b.step, "FSDP1", "fully_shard")
            continue
        b.step()
        with FullyShardedDataParallel.summon_full_params(many):
            near(list(whole.parameters()), list(many.parameters()), f"{name} in FSDP1")


@matrix_op("n n -> n n")
def root(a: Tensor, eps: float) -> Tensor:
    """a^(-1/4)."""
    w, q = torch.linalg.eigh(a)
    return (q * (w.clamp(min=0) + eps)[..., None, :] ** -0.25) @ q.mT


class Factored(ravine.Optimizer):
    """Factors of rows and columns, their roots in every second step."""

    blocks: Block | None = None

    def init(self, s, p):
        s.l, s.r, s.x, s.y, s.m = zeros("r r"), zeros("c c"), eye("r"), eye("c"), zeros(p)

    def update(self, s, p, g, t):
        s.l, s.r, due = s.l + g @ g.T, s.r + g.T @ g, turn(t, 2)
        s.x, s.y = root(s.l, 1e-4, due=due, old=s.x), root(s.r, 1e-4, due=due, old=s.y)
        s.m = 0.9 * s.m + s.x @ g @ s.y
        return p - self.lr * s.m


class Products(ravine.Optimizer):
    """A matrix made of momentum, and the norm of the result."""

    blocks: Block | None = None

    def init(self, s, p):
        s.m = zeros(p)

    def update(self, s, p, g, t):
        s.m = 0.9 * s.m + g
        u = s.m @ s.m.T @ s.m
        return p - self.lr * u * sqrt(rows(p) / cols(p)) / (norm(u) + 1)


class Rowwise(ravine.Optimizer):
    """A number for each row beside elements."""

    blocks: Block | None = None

    def update(self, s, p, g, t):
        return p - self.lr * (g @ g.T @ g) / (row_total(g**2) + 1)


def matrices(placed: Sequence[tuple[DeviceMesh, Sequence[Placement]]]) -> None:
    """Matrix work on tensors of which each process has a part, as one matrix and in blocks."""
    SHAPES[:] = [(8, 6), (6, 3), (6, 6), (4, 2, 3)]
    for mesh, placements in placed:
        for backend in (None, "reference"):
            for cls in (Factored, Products):
                for hyper in ({}, {"nonfinite": "skip"}, {"blocks": Heads(2)}, {"blocks": Partition(4)}):
                    what = f"{cls.__name__} {hyper}{' skips' * ('nonfinite' in hyper)}"
                    cut(mesh, placements, (what, cls, torch.float64, hyper), backend)
            cut(mesh, placements, ("Rowwise", Rowwise, torch.float64, {}), backend)
        p = nn.Parameter(distribute_tensor(given((8, 6), torch.float64, 0), mesh, placements, src_data_rank=None))
        p.grad = p.detach().clone()
        refused(Rowwise([p], blocks=Heads(2)).step, "distributed", "rows or columns of Heads")


CALLS: list[tuple[int, ...]] = []


@matrix_op("r c -> r c")
def heavy(x: Tensor) -> Tensor:
    """Work that is counted, and that may fail."""
    CALLS.append(tuple(x.shape))
    if x.isnan().any():
        raise ValueError("not a number")
    return 2 * x


class Heavy(ravine.Optimizer):
    """One such call for each tensor."""

    def update(self, s, p, g, t):
        return p - self.lr * heavy(g)


def owned(world: int) -> None:
    """Each tensor is worked on in one process, evenly; what fails there fails everywhere, and nothing waits."""
    mesh = init_device_mesh("cpu", (world,))
    shapes = [(128, 96)] * (2 * world)
    params = [nn.Parameter(distribute_tensor(torch.ones(x), mesh, [Shard(0)], src_data_rank=None)) for x in shapes]
    opt = Heavy(params, lr=0.25)
    for value in (1.0, math.nan, 1.0):
        for p in params:
            p.grad = distribute_tensor(torch.ones(p.shape), mesh, [Shard(0)], src_data_rank=None)
        if value != value and dist.get_rank() == 0:
            for p in params:
                p.grad.to_local()[0, 0] = math.nan
        CALLS.clear()
        try:
            opt.step()
        except (ValueError, RuntimeError) as error:
            assert value != value and ("not a number" in str(error) or "another process" in str(error)), error
        else:
            assert value == value and CALLS == [(128, 96)] * 2, CALLS
    assert all(bool((p.full_tensor() == 0).all()) for p in params)


def told() -> None:
    """A number of each process's own is averaged where it is known over which; else an error asks."""
    params = [nn.Parameter(torch.ones(2, dtype=torch.float64))]
    params[0].grad = torch.ones(2, dtype=torch.float64)
    own = 1.0 + dist.get_rank()
    refused(lambda: ravine.MoMo(params).step(loss=own), "MoMo", "process_group=", "the loss")
    alone, many = ravine.MoMo(params, process_group=False), ravine.MoMo(params, process_group=dist.group.WORLD)
    for opt, loss in ((alone, own), (many, (1 + dist.get_world_size()) / 2)):
        before = params[0].detach().clone()
        opt.step(loss=own)
        again = [nn.Parameter(before)]
        again[0].grad = params[0].grad
        ravine.MoMo(again, process_group=False).step(loss=loss)
        near(again, params, "its own loss" if opt is alone else "the mean of all losses")
        params[0].data.fill_(1.0)


def counted(world: int) -> None:
    """How many all-reduces a step has, whatever the number of tensors."""
    mesh, found = init_device_mesh("cpu", (world,)), list[str]()
    real = dist.all_reduce

    def count(x: Tensor, op: Any = dist.ReduceOp.SUM, group: Any = None) -> None:
        found.append(str(op))
        real(x, op, group)

    dist.all_reduce = count
    try:
        # Adafactor: columns, then all rows, then the norm of the step; CAME has a second such pair
        for name, much in {"adamw": 0, "lamb": 1, "sm3": 1, "prodigy": 1, "adafactor": 3, "came": 5}.items():
            for placements in ([Shard(0)], [Replicate()]):
                params = [
                    nn.Parameter(
                        distribute_tensor(given((8, 6), torch.float64, i), mesh, placements, src_data_rank=None)
                    )
                    for i in range(5)
                ]
                opt = ALL[name](params)
                steps(opt, params, 0, 1)
                found.clear()
                steps(opt, params, 1, 1)
                assert len(found) == (much if placements == [Shard(0)] else 0), (name, placements, found)
    finally:
        dist.all_reduce = real


def saved(names: Sequence[str], folder: str, save: bool, world: int) -> None:
    """torch's distributed checkpoint: saved by some processes, loaded by more or fewer."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    each = [*methods(names), ("noise", ALL["adam"], torch.float64, {"mods": [mods.GradientNoise()]})]
    each += [("bf16", ALL["adam"], torch.float32, {"storage": "bf16"})]
    each += [(f"bits {b}", ALL["adam"], torch.bfloat16, {"master_bits": b}) for b in (0, 8, 16)]
    each += [("int8", ALL["adam"], torch.float32, {"storage": "int8"})]
    for what, cls, dtype, hyper in each:
        torch.manual_seed(0)
        whole = nn.Linear(256, 64, bias=False).to(dtype) if what == "int8" else module(dtype)
        torch.manual_seed(0)
        many = nn.Linear(256, 64, bias=False).to(dtype) if what == "int8" else module(dtype)
        fully_shard(many, mesh=init_device_mesh("cpu", (world,)))
        one, params = list(whole.parameters()), list(many.parameters())
        a, b = cls(one, **hyper, **alone(cls)), cls(params, **hyper)
        if save:
            steps(b, params, 0, 3)
            model, state = get_state_dict(many, b)
            dcp.save({"model": model, "state": state}, checkpoint_id=f"{folder}/{what}")
            continue
        steps(a, one, 0, 6)
        model, state = get_state_dict(many, b)
        dcp.load(found := {"model": model, "state": state}, checkpoint_id=f"{folder}/{what}")
        set_state_dict(many, b, model_state_dict=found["model"], optim_state_dict=found["state"])
        steps(b, params, 3, 3)
        near(one, params, f"{what}, loaded by {world}")
        if dtype != torch.float64:
            assert all(torch.equal(x, y.full_tensor()) for x, y in zip(one, params, strict=True)), what


class Both(ravine.Routed):
    """Two rules with sums of their own, one over all tensors and one of each tensor."""

    def __init__(self, params: Sequence[Tensor], **hyper: Any):
        super().__init__({ravine.Prodigy: params[::2], ravine.LAMB: params[1::2]}, **hyper)


def largest() -> None:
    """Doubles keep their order as integers, NaN above all."""
    x = torch.tensor([-math.inf, -2.5, -1e-300, -0.0, 0.0, 1e-300, 3.0, math.inf, math.nan], dtype=torch.float64)
    assert torch.equal(ordered(x).sort().values, ordered(x))
    assert torch.equal(numbers(ordered(x)), x) or torch.equal(numbers(ordered(x)).nan_to_num(7), x.nan_to_num(7))


def main(rank: int, world: int, store: str, action: str, names: list[str], folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    line = init_device_mesh("cpu", (world,))
    grid = init_device_mesh("cpu", (world // 2 or 1, min(world, 2)), mesh_dim_names=("outer", "inner"))
    placed: list[tuple[DeviceMesh, Sequence[Placement]]] = [(line, (Shard(0),)), (line, (Shard(1),))]
    placed += [(grid, (Replicate(), Shard(0))), (grid, (Shard(0), Shard(1)))]
    if action in ("methods", "options"):
        for case in globals()[action](names):
            for mesh, placements in placed:
                for backend in (None, "reference"):
                    cut(mesh, placements, case, backend)
    elif action == "modules":
        for case in methods(names):
            for kind in ("DDP", "FSDP2", "HSDP", "tensor", "tensor and FSDP2"):
                trained(kind, case, world, False)
            trained("FSDP2", case, world, True)
    elif action == "zero":
        for case in (*methods(names), *options([x for x in names if x in ("adam", "lamb", "prodigy")])):
            under_zero(case)
    elif action == "matrices":
        owned(world)
        matrices(placed)
    elif action == "rest":
        largest()
        counted(world)
        told()
        flat(names)
        for mesh, placements in placed:
            cut(mesh, placements, ("routed, clipped", Both, torch.float64, {"mods": [mods.ClipNorm(0.5)]}), None)
            cut(mesh, placements, ("routed, skips", Both, torch.float64, {"nonfinite": "skip"}), None)
    else:
        saved(names, folder, action == "save", world)
    print("equal")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5].split(","), sys.argv[6])
