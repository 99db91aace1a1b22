"""Shuffle: torch's order, resumed at the exact sample, shared by processes."""

import copy
import pickle

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

from ravine.data import Curriculum, Mixed, Shuffle, pacing

N = 37
HARD = torch.arange(N) % 11
SAMPLERS = {
    "shuffle": lambda **how: Shuffle(range(N), **how),
    "curriculum": lambda **how: Curriculum(HARD, pacing.root(over=3), **how),
    "mixed": lambda **how: Mixed(HARD, pacing.linear(over=3), **how),
}
samplers = pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS.keys())


def loader(order, batch_size=4, **how):
    return DataLoader(TensorDataset(torch.arange(N)), batch_size, sampler=order, **how)


def flat(batches):
    return [x for batch in batches for x in batch]


def train(order, epochs, stop_after=None, **how):
    """The batches of a run, and the state after `stop_after` of them."""
    seen, at = [], None
    while order.epoch < epochs:
        for (x,) in order.batches(loader(order, **how)):
            seen.append(x.tolist())
            if len(seen) == stop_after:
                return seen, copy.deepcopy(order.state_dict())
    return seen, at


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("n", "replicas"), [(37, 1), (37, 4), (40, 4), (3, 5), (9000, 2)])
def test_the_order_is_that_of_torchs_distributed_sampler(n, replicas, drop_last):
    if n < replicas and drop_last:
        n += replicas
    for rank in range(replicas):
        ours = Shuffle(range(n), seed=3, num_replicas=replicas, rank=rank, drop_last=drop_last)
        theirs = DistributedSampler(range(n), replicas, rank, seed=3, drop_last=drop_last)
        for epoch in range(3):
            theirs.set_epoch(epoch)
            assert list(ours) == list(theirs) and len(ours) == len(theirs)


@samplers
def test_the_order_is_a_function_of_seed_and_epoch(make):
    a, b = make(seed=5), make(seed=5)
    torch.rand(7)
    list(b)
    b.at(9, 3)
    assert [a.order(e).tolist() for e in (0, 4, 2)] == [b.order(e).tolist() for e in (0, 4, 2)]
    assert a.order(0).tolist() != a.order(1).tolist() and a.order(0).tolist() != make(seed=6).order(0).tolist()


@samplers
def test_epochs_go_on_by_themselves(make):
    order = make(seed=1)
    assert [list(order) for _ in range(3)] == [order.order(e).tolist() for e in range(3)]
    assert order.epoch == 3


def test_looking_into_a_loader_takes_nothing():
    order = Shuffle(range(N))
    next(iter(loader(order)))
    assert list(order) == order.order(0).tolist()


@samplers
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.ci)])
@pytest.mark.parametrize("after", [1, 9, 10, 13])
def test_a_run_that_is_stopped_goes_on_sample_for_sample(make, workers, after):
    how = {"num_workers": workers, **({"prefetch_factor": 4} if workers else {})}
    whole, _ = train(make(seed=2), 2)
    first, state = train(make(seed=2), 2, stop_after=after, **how)
    order = make(seed=99)  # the state has the seed
    order.load_state_dict(state)
    assert first + train(order, 2, **how)[0] == whole


def test_leaving_the_loop_and_going_on_is_not_stopping():
    order, whole = Shuffle(range(N), seed=2), Shuffle(range(N), seed=2).order(0).tolist()
    first = [x.tolist() for _, (x,) in zip(range(3), order.batches(loader(order, num_workers=2)), strict=False)]
    rest = [x.tolist() for (x,) in order.batches(loader(order, num_workers=2))]
    assert flat(first + rest) == whole


def test_a_loader_without_batches_and_one_that_drops_the_last():
    order = Shuffle(range(N))
    taken = [int(x) for _, (x,) in zip(range(5), order.batches(loader(order, None)), strict=False)]
    assert taken == order.order(0)[:5].tolist() and order.sample == 5
    order.at(0)
    assert len(list(order.batches(loader(order, 4, drop_last=True)))) == 9 and order.epoch == 1


def test_what_batches_cannot_count_it_refuses():
    order = Shuffle(range(N))
    other = DataLoader(TensorDataset(torch.arange(N)), batch_sampler=BatchSampler(order, 4, False))
    with pytest.raises(TypeError, match="sampler=this"):
        next(order.batches(other))
    with pytest.raises(TypeError, match="sampler=this"):
        next(order.batches(loader(Shuffle(range(N)))))


@samplers
@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_all_processes_together_have_the_whole_order(make, replicas):
    one = make(seed=4).order(1).tolist()
    shares = []
    for rank in range(replicas):
        order = make(seed=4, num_replicas=replicas, rank=rank)
        order.set_epoch(1)
        shares.append(list(order))
    assert len({len(x) for x in shares}) == 1
    together = [x for places in zip(*shares, strict=True) for x in places]
    assert together[:N] == one and together[N:] == one[: len(together) - N]


def test_a_run_goes_on_with_another_number_of_processes():
    whole = Shuffle(range(48), seed=1).order(0).tolist()
    four = [Shuffle(range(48), seed=1, num_replicas=4, rank=r) for r in range(4)]
    taken = []
    for _ in range(3):
        for order in four:
            taken.append(next(iter(order)))
        for order in four:
            order.at(0, order.sample + 1)
    assert len({str(order.state_dict()) for order in four}) == 1
    two = [Shuffle(range(48), num_replicas=2, rank=r) for r in range(2)]
    for order in two:
        order.load_state_dict(four[0].state_dict())
    assert taken + [x for pair in zip(*two, strict=True) for x in pair] == whole
    with pytest.raises(ValueError, match="12 samples were taken, which 5 processes"):
        Shuffle(range(48), num_replicas=5, rank=0).load_state_dict(four[0].state_dict())


def test_set_epoch_keeps_the_place_in_the_epoch_that_it_names():
    order = Shuffle(range(N))
    order.at(2, 8)
    order.set_epoch(2)
    assert list(order) == order.order(2)[8:].tolist()
    order.at(2, 8)
    order.set_epoch(4)
    assert (order.epoch, order.sample) == (4, 0)


def test_states_of_others_are_refused():
    order = Shuffle(range(N))
    with pytest.raises(ValueError, match="of 36 samples, and here are 37"):
        order.load_state_dict(Shuffle(range(N - 1)).state_dict())
    with pytest.raises(ValueError, match="not a state_dict of Shuffle"):
        order.load_state_dict({"yielded": 3})
    with pytest.raises(ValueError, match="both count from 0"):
        order.at(0, N + 1)


@samplers
def test_samplers_can_be_sent_to_other_processes(make):
    a = make(seed=3)
    assert list(pickle.loads(pickle.dumps(a))) == list(a)


def test_no_list_of_all_samples_is_made(monkeypatch):
    longest = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: longest.append(x.numel()) or tolist(x))
    assert sum(Shuffle(range(50_000))) == sum(range(50_000))
    assert max(longest) <= 4096


@samplers
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
def test_torchdatas_stateful_loader_counts_for_itself(make, workers):
    torchdata = pytest.importorskip("torchdata.stateful_dataloader", reason="torchdata is not installed")

    def stateful(order):
        return torchdata.StatefulDataLoader(TensorDataset(torch.arange(N)), 4, sampler=order, num_workers=workers)

    def run(loader):
        """Batches and the states after them; the end of an epoch is an event too."""
        while loader.sampler.epoch < 2:
            for (x,) in loader:
                yield x.tolist(), copy.deepcopy(loader.state_dict())
            yield [], copy.deepcopy(loader.state_dict())

    whole = list(run(stateful(make(seed=2))))
    assert flat(x for x, _ in whole) == make(seed=2).order(0).tolist() + make(seed=2).order(1).tolist()
    for after in (0, 3, 9, 10, 11, 14):  # 9 is the last batch of an epoch, 10 its end
        again = stateful(make(seed=7))
        again.load_state_dict(whole[after][1])
        assert flat(x for x, _ in run(again)) == flat(x for x, _ in whole[after + 1 :])
