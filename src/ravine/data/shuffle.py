"""A new order in every epoch, and after a stop the sample that would have been next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from operator import index  # of NumPy's whole numbers Python's own, which every checkpoint can hold
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from ravine.saved import MOST, entries, whole

CHUNK = 4096  # so many places of an order are Python numbers at a time


class Shuffle(DistributedSampler[int]):
    """A sampler that shuffles anew in every epoch; the order is a function of seed and epoch and nothing else.

        order(e) = randperm(n), by a generator with the seed `seed + e`
        process r of R takes the places r, r + R, r + 2R … of it

        >>> import torch, ravine
        >>> data = torch.utils.data.TensorDataset(torch.arange(10.0))
        >>> order = ravine.data.Shuffle(data, seed=1)
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=order)
        >>> for x in order.batches(loader):  # an epoch, or what is left of it
        ...     pass  # train
        >>> order.state_dict()
        {'epoch': 1, 'sample': 0, 'seed': 1, 'of': 10}

    It is torch's DistributedSampler, place for place, and adds three things: epochs go on by themselves where nobody
    calls `set_epoch`, an order is one tensor and not a list of Python numbers, and it can go on in the middle.

    The workers of a DataLoader draw from a sampler long before training is given the samples. `batches(loader)` counts
    what training has taken, so that `state_dict()` is right after every batch, whatever was fetched ahead. torchdata's
    StatefulDataLoader counts for itself: give it this sampler and save its state instead. Where something else
    counts, say where to go on: `at(epoch, sample)`. A loader that is iterated by itself, or only looked into, begins
    where the last of these three has said, until an epoch has been drawn to its end.

    data: what has a length: the data set, or range(n).
    num_replicas, rank: of the processes; None asks torch.distributed where it runs. Accelerate and Hugging Face's
        Trainer deal the batches out themselves: give them num_replicas=1, rank=0.
    drop_last: with several processes each takes as many samples: the order begins again at its end to make it so, or
        with drop_last=True its last few are left out.
    """

    def __init__(
        self,
        data: Sized,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
    ):
        if isinstance(data, type) or not hasattr(data, "__len__"):
            given = f"the class {data.__name__}" if isinstance(data, type) else f"a {type(data).__name__}"
            raise TypeError(f"{type(self).__name__}: data is {given}; give the data set, or range(n)")
        alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
        super().__init__(
            cast(Dataset[int], data),  # of which torch takes the length
            (1 if alone else None) if num_replicas is None else index(num_replicas),
            (0 if alone else None) if rank is None else index(rank),
            seed=index(seed),
            drop_last=drop_last,
        )
        self.n = len(data)
        self.sample = 0  # how many samples of this epoch this process has taken

    def order(self, epoch: int) -> Tensor:
        """The order of an epoch, for all processes together."""
        return torch.randperm(self.n, generator=self.generator(epoch), device="cpu")

    def generator(self, epoch: int) -> torch.Generator:
        """The source of an epoch's randomness."""
        return torch.Generator().manual_seed(self.seed + epoch)

    def __iter__(self) -> Walk:
        return Walk(self)

    def batches(self, loader: DataLoader[Any]) -> Iterator[Any]:
        """The rest of the epoch from a loader that draws from here, each batch counted as it is taken."""
        if loader.sampler is not self:
            raise TypeError(
                f"batches() counts for the sampler of a loader: DataLoader(…, sampler=this), not {loader!r}"
            )
        size = 1 if loader.batch_sampler is None else cast(int, loader.batch_size)
        epoch, sample = self.epoch, self.sample
        for batch in loader:
            sample = min(sample + size, self.num_samples)
            self.at(epoch, sample)
            yield batch
        self.at(epoch + 1)

    def at(self, epoch: int, sample: int = 0) -> None:
        """Go on in this epoch after so many samples of this process."""
        epoch, sample = index(epoch), index(sample)
        if epoch < 0 or not 0 <= sample <= self.num_samples:
            raise ValueError(
                f"at(epoch={epoch}, sample={sample}): an epoch has {self.num_samples} samples, and both count from 0"
            )
        self.epoch, self.sample = epoch, sample

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; nothing happens in the middle of the one that it names."""
        if epoch != self.epoch:
            self.at(epoch)

    def state_dict(self) -> dict[str, int]:
        """Where training is: epoch, samples taken by all processes, seed and length. Each process has the same."""
        return self.state_at(self.epoch, self.sample)

    def state_at(self, epoch: int, sample: int) -> dict[str, int]:
        """The state_dict of a place."""
        return {"epoch": epoch, "sample": sample * self.num_replicas, "seed": self.seed, "of": self.n}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Go on there, also with another number of processes; raises ValueError where the data are others."""
        who = type(self).__name__
        given = entries(who, state_dict, self.state_dict(), only=True)
        given = {k: whole(f"{who}: {k}", x, least=-MOST if k == "seed" else 0) for k, x in given.items()}
        if given["of"] != self.n:
            raise ValueError(f"the state_dict is of {given['of']} samples, and here are {self.n}")
        sample, rest = divmod(given["sample"], self.num_replicas)
        if rest:
            raise ValueError(
                f"{given['sample']} samples were taken, which {self.num_replicas} processes cannot have shared; "
                "go on with a number of processes that divides it, or at the next epoch: at(epoch + 1)"
            )
        self.seed = given["seed"]
        self.at(given["epoch"], min(sample, self.num_samples))


class Walk(Iterator[int]):
    """One iteration over a sampler. It has the protocol of torchdata's StatefulDataLoader, which saves it by batch."""

    def __init__(self, sampler: Shuffle):
        self.sampler = sampler
        self.begin(sampler.epoch, sampler.sample)

    def begin(self, epoch: int, sample: int) -> None:
        self.epoch, self.sample = epoch, sample
        self.order: Tensor | None = None
        self.ahead: Iterator[int] = iter(())

    def __next__(self) -> int:
        for place in self.ahead:
            self.sample += 1
            return place
        if few := self.read():
            self.ahead = iter(few)
            return next(self)
        if self.sampler.epoch == self.epoch:
            self.sampler.at(self.epoch + 1)
        self.order = None
        raise StopIteration

    def read(self) -> list[int]:
        """The next few of this process."""
        take = self.sampler
        k = torch.arange(self.sample, min(self.sample + CHUNK, take.num_samples), device="cpu")
        if not len(k):
            return []
        if self.order is None:
            self.order = take.order(self.epoch)
        return self.order[(k * take.num_replicas + take.rank) % len(self.order)].tolist()

    def state_dict(self) -> dict[str, int]:
        return self.sampler.state_at(self.epoch, self.sample)

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        self.sampler.load_state_dict(state_dict)
        self.begin(self.sampler.epoch, self.sampler.sample)
