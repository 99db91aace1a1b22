"""One of several processes with compressors; test_compress_ranks.py starts it, with the rank, the world, a file to meet
at, and the law that is to hold."""

import gc
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as torchs
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from ravine.parallel.compress import Compressor, PowerSGD, SignCompress, TopK

RANK, WORLD = int(sys.argv[1]), int(sys.argv[2])
SHAPES = [(17, 12), (17, 12), (9, 4, 3), (5,), (), (0, 3), (65,)]
EACH = (lambda: TopK(0.1), SignCompress, lambda: SignCompress(vote=True), lambda: PowerSGD(2, min_compression_rate=1.0))


def given(t: int, rank: int = RANK, shapes: Any = SHAPES, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Other numbers on each process and at each step."""
    random = torch.Generator().manual_seed(1000 * t + rank)
    return [torch.randn(s, generator=random, dtype=torch.float64).to(dtype) for s in shapes]


def near(a: Tensor, b: Tensor, bound: float = 1e-11) -> None:
    assert a.shape == b.shape, (a.shape, b.shape)
    assert not a.numel() or float((a - b).abs().max()) <= bound, float((a - b).abs().max())


def same_everywhere(tensors: list[Tensor]) -> None:
    """The same bits on every process, NaN too."""
    for x in tensors:
        x = x.detach().contiguous()
        all_of_it = [torch.empty_like(x) for _ in range(WORLD)]
        dist.all_gather(all_of_it, x)
        assert all(torch.equal(y, x) or ((y.isnan() == x.isnan()).all() and y.isnan().any()) for y in all_of_it)


@contextmanager
def counted() -> Iterator[list[int]]:
    """The bytes that are handed to collectives."""
    gathers, reduces, count = dist.all_gather, dist.all_reduce, [0]

    def all_gather(out: list[Tensor], x: Tensor, *args: Any, **how: Any) -> Any:
        count[0] += x.nbytes
        return gathers(out, x, *args, **how)

    def all_reduce(x: Tensor, *args: Any, **how: Any) -> Any:
        count[0] += x.nbytes
        return reduces(x, *args, **how)

    dist.all_gather, dist.all_reduce = all_gather, all_reduce
    try:
        yield count
    finally:
        dist.all_gather, dist.all_reduce = gathers, reduces


class Linear(nn.Module):
    """Its gradients are the inputs: what a hook is given is known."""

    def __init__(self, shapes: Any = SHAPES, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.p = nn.ParameterList(nn.Parameter(torch.zeros(s, dtype=dtype)) for s in shapes)

    def forward(self, grads: list[Tensor]) -> Tensor:
        return sum((p * g).sum() for p, g in zip(self.p, grads, strict=True))  # pyright: ignore


def backward(model: nn.Module, grads: list[Tensor]) -> list[Tensor]:
    """What DDP has made of these gradients."""
    model.zero_grad()
    model(grads).backward()
    return [p.grad.clone() for p in model.parameters()]  # pyright: ignore


def ddp(model: nn.Module, **how: Any) -> DistributedDataParallel:
    return DistributedDataParallel(model, **how)


# laws


def means() -> None:
    """The mean of what each process sends, by single processes that do as they do; the same bits everywhere."""
    for make in EACH[:3]:
        shared, alone = make(), [make() for _ in range(WORLD)]
        for t in range(5):
            found = shared.all_reduce_mean(given(t))
            parts = [lone(c, given(t, r)) for r, c in enumerate(alone)]
            sums = [sum(xs) for xs in zip(*parts, strict=True)]
            for x, y in zip(found, sums, strict=True):
                near(x, y.sign() if "True" in repr(shared) else y / WORLD)  # pyright: ignore
            same_everywhere(found)
        assert all(torch.equal(e, alone[RANK].errors[k]) for k, e in shared.errors.items())


def lone(c: Compressor, grads: list[Tensor]) -> list[Tensor]:
    """What a compressor gives to a process that is alone."""
    c.among = lambda group: None  # type: ignore
    return c.all_reduce_mean(grads)


def everything() -> None:
    """ratio=1 and a full rank are the plain mean, under DDP too."""
    plain = [sum(xs) / WORLD for xs in zip(*(given(0, r) for r in range(WORLD)), strict=True)]
    for compressor in (TopK(1.0), PowerSGD(100, min_compression_rate=0.01)):
        for _ in range(3):
            found = compressor.all_reduce_mean(given(0))
            same_everywhere(found)
            for x, y in zip(found, plain, strict=True):
                near(x, y)  # pyright: ignore
    for compressor, how in ((TopK(1.0), {}), (PowerSGD(100, min_compression_rate=0.01), {"start": 2})):
        model = ddp(Linear())
        compressor.ddp_hook(model, **how)
        for _ in range(5):
            for x, y in zip(backward(model, given(0)), plain, strict=True):
                near(x, y)  # pyright: ignore
        del model


def bytes_sent() -> None:
    """`sent_bytes` is what collectives are given, in both forms; signs take one bit a number."""
    for make in EACH:
        for hooked in (False, True):
            compressor, model = make(), ddp(Linear())
            if hooked:
                compressor.ddp_hook(model, **({"start": 2} if isinstance(compressor, PowerSGD) else {}))
            with counted() as count:
                for t in range(5):
                    backward(model, given(t)) if hooked else compressor.all_reduce_mean(given(t))
            assert 0 < compressor.sent_bytes == count[0], (repr(compressor), hooked, compressor.sent_bytes, count)
            del model
    d, signs = 100_003, SignCompress()
    with counted() as count:
        signs.all_reduce_mean(given(0, shapes=[(d,), (10, 10)], dtype=torch.float32))
    assert count[0] <= (d + 100) / 8 + 2 * 5 + 8  # a scale and a part of a byte for each; a checksum for all


def powers() -> None:
    """PowerSGD's own form is torch's hook on the same numbers."""
    shapes = [(17, 12), (9, 4, 3), (5,), (65,)]
    for rank in (1, 2, 4):
        ours, model = PowerSGD(rank, min_compression_rate=1.0, seed=3), ddp(Linear(shapes))
        state = torchs.PowerSGDState(None, rank, 2, 1, random_seed=3)
        model.register_comm_hook(state, torchs.powerSGD_hook)
        wrapped, other = PowerSGD(rank, min_compression_rate=1.0, seed=3), ddp(Linear(shapes))
        wrapped.ddp_hook(other, start=2)
        for t in range(8):
            grads = given(t, shapes=shapes)
            expected, hooked = backward(model, grads), backward(other, grads)
            assert all(map(torch.equal, expected, hooked))
            if t < 2:
                continue
            if t == 2:  # torch draws the first Q in the order of the bucket, the list form in that of the list
                wrapped.collect()
                ours.qs = {k.removeprefix("p."): q.clone() for k, q in wrapped.qs.items()}
                ours.errors = {k: wrapped.errors[f"p.{k}"].clone() for k in ours.qs}
                continue
            for x, y in zip(ours.all_reduce_mean(grads), expected, strict=True):
                near(x, y)
        same_everywhere(expected)
        del model, other


def from_the_start() -> None:
    """One bucket with matrices of one shape: even the first Q is that of torch's hook."""
    shapes = [(17, 12)]
    ours, model = PowerSGD(3, min_compression_rate=1.0, seed=5), ddp(Linear(shapes))
    model.register_comm_hook(torchs.PowerSGDState(None, 3, 2, 1, random_seed=5), torchs.powerSGD_hook)
    for t in range(8):
        expected = backward(model, given(t, shapes=shapes))
        if t >= 2:
            near(ours.all_reduce_mean(given(t, shapes=shapes))[0], expected[0])


def hooks() -> None:
    """Under DDP, with several buckets that are formed anew, the mean is that of the list form."""
    for make in EACH[:3]:
        compressor, lists, model = make(), make(), ddp(Linear(), bucket_cap_mb=0.001)
        compressor.ddp_hook(model)
        for t in range(5):
            found = backward(model, given(t))
            for x, y in zip(found, lists.all_reduce_mean(given(t)), strict=True):
                assert torch.equal(x, y)
        assert {k.removeprefix("p.") for k in compressor.errors} == set(lists.errors)
        del model


def kinds() -> None:
    """float16, bfloat16, channels-last, and what has one number or none."""
    for make in EACH:
        for dtype in (torch.float16, torch.bfloat16, torch.float32):
            compressor, model = make(), ddp(Linear(dtype=dtype))
            compressor.ddp_hook(model, **({"start": 2} if isinstance(compressor, PowerSGD) else {}))
            for t in range(5):
                found = backward(model, given(t, dtype=dtype))
                assert all(x.isfinite().all() and x.dtype == dtype for x in found)
                same_everywhere(found)
            assert all(e.dtype == torch.float32 for e in compressor.state_dict()["errors"].values())
            del model
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 4))
        model = ddp(net.to(memory_format=torch.channels_last))  # pyright: ignore
        compressor = make()
        compressor.ddp_hook(model, **({"start": 2} if isinstance(compressor, PowerSGD) else {}))
        for t in range(5):
            model.zero_grad()
            model(given(t, shapes=[(5, 3, 4, 4)], dtype=torch.float32)[0]).square().mean().backward()
            same_everywhere([p.grad for p in model.parameters()])  # pyright: ignore
        del model


def zeros() -> None:
    """A layer without a gradient stays without one."""
    for make in EACH[:2] + EACH[3:]:
        compressor, model = make(), ddp(Linear())
        compressor.ddp_hook(model, **({"start": 2} if isinstance(compressor, PowerSGD) else {}))
        for _ in range(5):
            found = backward(model, [torch.zeros_like(x) for x in given(0)])
            assert not any(x.any() for x in found)
        del model


def not_finite() -> None:
    """A NaN on one process is a NaN on all, and the path goes on as if there had been no such step."""
    for make in EACH:
        a, b = make(), make()
        for t in range(6):
            if t in (0, 3):
                bad = given(50 + t)
                if RANK == WORLD - 1:
                    bad[0][3, 4] = math.nan
                    bad[6][5] = math.inf
                found = a.all_reduce_mean(bad)
                assert found[0].isnan().any() and not found[6].isfinite().all()
                same_everywhere(found)
            for x, y in zip(a.all_reduce_mean(given(t)), b.all_reduce_mean(given(t)), strict=True):
                assert torch.equal(x, y) and x.isfinite().all()
        a, b, model, clean = make(), make(), ddp(Linear()), ddp(Linear())
        start = {"start": 2} if isinstance(a, PowerSGD) else {}
        a.ddp_hook(model, **start)
        b.ddp_hook(clean, **start)
        for t in range(8):
            if t in (2, 5):
                bad = given(50 + t)
                if RANK == 0:
                    bad[0][3, 4] = math.nan
                found = backward(model, bad)
                assert found[0].isnan().any()
                same_everywhere(found)
            assert all(map(torch.equal, backward(model, given(t)), backward(clean, given(t)))), (repr(a), t)
        del model, clean


def scaler() -> None:
    """GradScaler skips the step on every process where one has an infinite gradient."""
    for make in EACH:
        torch.manual_seed(0)
        compressor, model = make(), ddp(Linear([(16, 8), (8,)], torch.float32))
        compressor.ddp_hook(model, **({"start": 2} if isinstance(compressor, PowerSGD) else {}))
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        scaled = torch.amp.GradScaler("cpu", init_scale=64.0)  # pyright: ignore
        for t in range(6):
            grads = given(t, shapes=[(16, 8), (8,)], dtype=torch.float32)
            if RANK == 1 and t == 4:
                grads[0][2, 2] = math.inf
            before = [p.detach().clone() for p in model.parameters()]
            model.zero_grad()
            scaled.scale(model(grads)).backward()
            scaled.step(opt)
            scaled.update()
            moved = any(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
            assert moved == (t != 4)
            same_everywhere(list(model.parameters()))
        assert scaled.get_scale() == 32.0
        del model, opt


def resume() -> None:
    """A run under DDP that is saved and begun again in new objects goes on bit for bit, though DDP's first buckets are
    others than those that it makes of them."""
    for make in EACH:
        start = {"start": 2} if "PowerSGD" in repr(make()) else {}

        def made(start: Any = start, make: Any = make) -> tuple[DistributedDataParallel, Compressor]:
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 4)).double()
            model, compressor = ddp(net, bucket_cap_mb=0.004), make()
            compressor.ddp_hook(model, **start)
            return model, compressor

        def train(model: nn.Module, steps: range) -> list[Tensor]:
            for t in steps:
                x = given(t, shapes=[(8, 20)])[0]
                model.zero_grad()
                model(x).square().mean().backward()
                with torch.no_grad():
                    for p in model.parameters():
                        p -= 0.1 * p.grad  # pyright: ignore
            return [p.detach().clone() for p in model.parameters()]

        model, compressor = made()
        train(model, range(6))
        weights, saved = {k: x.clone() for k, x in model.state_dict().items()}, compressor.state_dict()
        assert (saved["rank"], saved["world"]) == (RANK, WORLD)
        assert saved["errors"] or "True" in repr(compressor)
        expected = train(model, range(6, 12))
        del model
        model, compressor = made()
        model.load_state_dict(weights)
        compressor.load_state_dict(saved)
        found = train(model, range(6, 12))
        if WORLD == 2 or not start:
            assert all(map(torch.equal, found, expected)), repr(compressor)
        else:  # gloo adds up three numbers in an order that depends on their place in a bucket
            for x, y in zip(found, expected, strict=True):
                near(x, y, 1e-13)
        same_everywhere(found)
        del model
        if "True" not in repr(compressor):  # and without the memory it does not
            model, compressor = made()
            model.load_state_dict(weights)
            compressor.load_state_dict(
                make().state_dict() | ({"iter": 6} if start else {}) | {"rank": RANK, "world": WORLD}
            )
            assert not all(map(torch.equal, train(model, range(6, 12)), expected))
            del model


def other_world() -> None:
    """A memory of three processes is forgotten by all, with a warning, and training goes on."""
    for make in EACH:
        compressor, model = make(), ddp(Linear())
        compressor.ddp_hook(model, **({"start": 2} if isinstance(compressor, PowerSGD) else {}))
        for t in range(4):
            backward(model, given(t))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            compressor.load_state_dict(compressor.state_dict() | {"world": WORLD + 1})
        assert [f"this is rank {RANK} of {WORLD}; it begins empty" in str(w.message) for w in said] == [True]
        same_everywhere(backward(model, given(4)))
        del model


def groups() -> None:
    """The mean over a group is that of its members; who is none is told so."""
    group: Any = dist.new_group([0, 1])
    compressor = TopK(1.0)
    if RANK < 2:
        for x, y, z in zip(compressor.all_reduce_mean(given(0), group), given(0, 0), given(0, 1), strict=True):
            near(x, (y + z) / 2)
    else:
        try:
            compressor.all_reduce_mean(given(0), group)
        except ValueError as error:
            assert "not in the process group" in str(error)
        else:
            raise AssertionError("it took a group that it is not in")


def refused() -> None:
    """What DDP cannot give to a compressor is refused before training."""
    cases = [
        (TopK(), nn.Embedding(4, 3, sparse=True), TypeError, "sparse=False"),
        (PowerSGD(), Linear([(8, 8)], torch.complex64), TypeError, "not complex"),
    ]
    for compressor, net, kind, words in cases:
        model = ddp(net)
        try:
            compressor.ddp_hook(model)
        except kind as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)
        del model
    model = ddp(Linear())
    TopK().ddp_hook(model)
    try:
        SignCompress().ddp_hook(model)
    except RuntimeError as error:
        assert "register_comm_hook" in str(error) or "hook" in str(error)
    else:
        raise AssertionError("two hooks")


def digits() -> None:
    """Each trains the digits to about the loss of plain DDP."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    x, y = x[RANK::WORLD], y[RANK::WORLD]
    ends = dict[str, float]()
    for name, compressor, how in (
        ("none", None, {}),
        ("top", TopK(0.05), {}),
        ("sign", SignCompress(), {}),
        ("power", PowerSGD(2), {"start": 10}),
    ):
        torch.manual_seed(0)
        model = ddp(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
        if compressor is not None:
            compressor.ddp_hook(model, **how)
        opt = torch.optim.SGD(model.parameters(), lr=0.3)
        random = torch.Generator().manual_seed(1)
        for _ in range(250):
            rows = torch.randint(len(x), (64,), generator=random)
            opt.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            opt.step()
        same_everywhere(list(model.parameters()))
        loss = cross_entropy(model(x), y).detach()
        dist.all_reduce(loss)
        ends[name] = float(loss) / WORLD
        del model, opt
    assert ends["none"] < 0.2 and all(loss < ends["none"] + 0.05 for loss in ends.values()), ends


def different() -> None:
    """Where processes give different tensors, or one of them bad ones, all are told, and the next call is right."""
    for make in EACH:
        compressor, other = make(), make()
        cases: list[tuple[Any, str]] = [
            (given(0)[RANK % 2 :], "gives other tensors"),
            ([x.float() for x in given(0)] if RANK else given(0), "gives other tensors"),
            ([*given(0), 3] if RANK else given(0), "must be a tensor" if RANK else "rank 1 refuses its tensors"),
            ([] if RANK else given(0), "gives other tensors"),
        ]
        for tensors, words in cases:
            try:
                compressor.all_reduce_mean(tensors)
            except (TypeError, ValueError) as error:
                assert words in str(error), error
            else:
                raise AssertionError(words)
            assert not compressor.errors
        assert all(map(torch.equal, compressor.all_reduce_mean(given(1)), other.all_reduce_mean(given(1))))
    try:
        (TopK(0.1) if RANK else TopK(0.2)).all_reduce_mean(given(0))
    except ValueError as error:
        assert "another compressor" in str(error)
    else:
        raise AssertionError("two ratios")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group(
        "gloo", init_method=f"file://{sys.argv[3]}", rank=RANK, world_size=WORLD, timeout=timedelta(seconds=60)
    )
    for law in sys.argv[4:]:
        globals()[law]()
        gc.collect()
        print(law, flush=True)
    dist.barrier()
    dist.destroy_process_group()
