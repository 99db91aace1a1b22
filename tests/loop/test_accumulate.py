"""Accumulated gradients are those of the one large batch."""

from contextlib import nullcontext

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.data import Shuffle
from ravine.loop import accumulate


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def gradients(model):
    return [p.grad.clone() for p in model.parameters()]


def near(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-15)


def tokens(n, seed=0):
    """Rows of 6 tokens of which a part counts, very unevenly: labels of −100 are left out."""
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 6, 5, generator=g, dtype=torch.float64), torch.randint(3, (n, 6), generator=g)
    for i in range(n):
        y[i, 1 + i % 6 :] = -100
    return x, y


def masked(model, x, y, reduction="mean"):
    return cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=-100, reduction=reduction)


def valid(batch):
    return (batch[1] != -100).sum()


@pytest.mark.parametrize(("n", "size", "steps"), [(24, 4, 3), (22, 4, 3), (29, 4, 3), (5, 8, 4), (7, 1, 7)])
def test_rows_agree_with_the_large_batch(n, size, steps):
    model, data = network(), TensorDataset(torch.randn(n, 5).double(), torch.randn(n, 3).double())
    done = 0
    for group in accumulate(DataLoader(data, size), steps):
        model.zero_grad()
        for (x, y), share, _ in group:
            (share * mse_loss(model(x), y)).backward()
        found = gradients(model)
        model.zero_grad()
        x, y = data[done : done + size * steps]
        mse_loss(model(x), y).backward()
        near(found, gradients(model))
        done += len(x)
    assert done == n


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_tokens_agree_with_the_large_batch_where_dividing_by_steps_does_not(reduction):
    model, (x, y) = network(), tokens(11)
    batches = list(zip(x.split(2), y.split(2), strict=True))
    (group,) = accumulate(batches, 6, count=valid, reduction=reduction)
    for (xs, ys), share, _ in group:
        (share * masked(model, xs, ys, reduction)).backward()
    found = gradients(model)
    model.zero_grad()
    masked(model, x, y).backward()
    near(found, gradients(model))
    naive = network()
    for xs, ys in batches:
        (masked(naive, xs, ys) / 6).backward()
    assert max((a - b).abs().max() for a, b in zip(gradients(naive), found, strict=True)) > 1e-3


@pytest.mark.parametrize("name", ["AdamW", "Lion", "RAdam"])
def test_whole_runs_agree(name):
    one, many = network(), network()
    a, b = getattr(ravine, name)(one.parameters(), lr=1e-2), getattr(ravine, name)(many.parameters(), lr=1e-2)
    x, y = tokens(23)
    for xs, ys in zip(x.split(6), y.split(6), strict=True):
        a.zero_grad()
        masked(one, xs, ys).backward()
        a.step()
    for group in accumulate(zip(x.split(2), y.split(2), strict=True), 3, count=valid):
        b.zero_grad()
        for (xs, ys), share, _ in group:
            (share * masked(many, xs, ys)).backward()
        b.step()
    for p, q in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_shares_sum_to_1_and_one_batch_is_the_last(steps):
    batches = [torch.zeros(n) for n in (3, 1, 4, 1, 5, 9, 2)]
    groups = list(accumulate(batches, steps))
    assert [len(g) for g in groups] == [min(steps, 7 - i) for i in range(0, 7, steps)]
    for group in groups:
        assert sum(share for _, share, _ in group) == pytest.approx(1, abs=1e-15)
        assert [last for _, _, last in group] == [False] * (len(group) - 1) + [True]
    assert [batch for g in groups for batch, _, _ in g] == batches


def test_rows_are_those_of_the_first_tensor():
    for batch in (torch.zeros(6, 2), (torch.zeros(6), 1), {"x": [torch.zeros(6)]}, [{"a": torch.zeros(6, 3)}]):
        ((_, share, _), (_, other, _)) = next(accumulate([batch, torch.zeros(2)], 2))
        assert (share, other) == (0.75, 0.25)
    for batch in ("text", 3, [], {"x": ["a"]}):
        with pytest.raises(TypeError):
            next(accumulate([batch], 1))


def test_a_mean_over_nothing_is_refused_and_a_sum_is_not():
    model, (x, y) = network(), tokens(4)
    y[1] = -100
    batches = list(zip(x.split(1), y.split(1), strict=True))
    with pytest.raises(ValueError, match="of the 3 batches of this step, number 2 has nothing to count"):
        next(accumulate(batches, 3, count=valid))
    for (xs, ys), share, _ in next(accumulate(batches, 4, count=valid, reduction="sum")):
        (share * masked(model, xs, ys, "sum")).backward()
    found = gradients(model)
    model.zero_grad()
    masked(model, x, y).backward()
    near(found, gradients(model))
    (group,) = accumulate(batches[1:2], 1, count=valid, reduction="sum")
    assert group[0][1] == 1.0  # and the sum is 0


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 2, "reduction": "none"}])
def test_what_it_does_not_take(wrong):
    with pytest.raises(ValueError, match="steps of at least 1 and mean or sum"):
        next(accumulate([], **wrong))


def test_it_fetches_a_step_and_no_further():
    order = Shuffle(range(20), seed=1)
    loader = DataLoader(TensorDataset(torch.arange(20)), 3, sampler=order, num_workers=2)
    steps = accumulate(order.batches(loader), 2)
    next(steps)
    assert order.sample == 6
    next(steps)
    assert order.sample == 12


def test_released_optimizers_accumulate_the_same():
    x, y = tokens(9)
    released, plain = network(), network()
    a, b = ravine.AdamW(released.parameters(), lr=1e-2), ravine.AdamW(plain.parameters(), lr=1e-2)
    hold = ravine.release(released, a)
    for group in accumulate(zip(x.split(2), y.split(2), strict=True), 3, count=valid):
        for (xs, ys), share, last in group:
            with nullcontext() if last else hold.accumulate():
                (share * masked(released, xs, ys)).backward()
            (share * masked(plain, xs, ys)).backward()
        a.step()
        b.step()
        b.zero_grad()
        for p, q in zip(released.parameters(), plain.parameters(), strict=True):
            assert p.grad is None and torch.equal(p, q)


def process(rank, folder, out):
    """Two processes with very different numbers of tokens, through DDP."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.set_num_threads(1)
    x, y = tokens(10)
    mine = slice(0, 7) if rank == 0 else slice(7, 10)
    model = DistributedDataParallel(network())
    (group,) = accumulate(zip(x[mine].split(2), y[mine].split(2), strict=True), 9, count=valid, distributed=True)
    for (xs, ys), share, last in group:
        with nullcontext() if last else model.no_sync():
            (share * masked(model, xs, ys)).backward()
    torch.save(gradients(model.module), f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_that_have_uneven_tokens_agree_with_the_large_batch(tmp_path):
    mp.start_processes(process, (tmp_path, tmp_path), nprocs=2, start_method="spawn")
    model = network()
    masked(model, *tokens(10)).backward()
    for rank in range(2):
        near(torch.load(tmp_path / f"{rank}.pt"), gradients(model))


def test_the_whole_data_set_is_one_batch():
    """Batch gradient descent as docs/recipes.md has it: by one group of the loader, and by sums over the rows."""
    torch.manual_seed(1)
    x, y = torch.randn(23, 5, dtype=torch.float64), torch.randn(23, 3, dtype=torch.float64)
    loader = DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True)
    whole, grouped, summed = network(), network(), network()
    mse_loss(whole(x), y).backward()
    (group,) = accumulate(loader, len(loader))
    for (inputs, targets), share, _ in group:
        (share * mse_loss(grouped(inputs), targets)).backward()
    for inputs, targets in loader:
        (mse_loss(summed(inputs), targets, reduction="sum") / y.numel()).backward()
    near(gradients(grouped), gradients(whole))
    near(gradients(summed), gradients(whole))
