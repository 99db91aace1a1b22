"""Compressors whose message cannot be added up: every process gathers all messages, and adds what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from ravine.parallel.compress.compressor import Compressor, narrow, wide_type

if TYPE_CHECKING:
    from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage]


class Messages(Compressor):
    """One all-gather of bytes in a call; a subclass says how a tensor becomes bytes, and what they add to a sum."""

    feedback = True

    def pack(self, p: Tensor, kind: torch.dtype) -> Tensor:
        """A tensor with one dimension as bytes: as many for each tensor of that length, whatever its numbers.

        kind: the real type of the tensor to be averaged, which may have fewer bits than p."""
        raise NotImplementedError(f"{type(self).__name__} has no pack()")

    def add(self, total: Tensor, message: Tensor, kind: torch.dtype, alpha: int = 1) -> None:
        """Add the numbers of a message, alpha times, to a tensor with one dimension."""
        raise NotImplementedError(f"{type(self).__name__} has no add()")

    def mean(self, total: Tensor, world: int) -> Tensor:
        """What is given for the sum of all messages."""
        return total.div_(world)

    def settle(self, tensors: Mapping[str, Tensor], group: Any) -> list[Tensor]:
        arrived, finish = self.begin(tensors, group)
        if arrived is not None:
            arrived.wait()
        return finish()

    def register(self, model: DistributedDataParallel, group: Any, names: Mapping[int, str]) -> None:
        def hook(bucket: GradBucket) -> Future[Tensor]:
            grads = bucket.gradients()
            own = {names[id(p)]: g for p, g in zip(bucket.parameters(), grads, strict=True)}
            arrived, finish = self.begin(self.checked(own), group)

            @torch.no_grad()
            def write(_: Any) -> Tensor:
                for g, mean in zip(grads, finish(), strict=True):
                    g.copy_(mean)
                return bucket.buffer()

            return at_once(write(None)) if arrived is None else arrived.then(write)

        model.register_comm_hook(None, lambda _, bucket: hook(bucket))  # torch refuses annotations that are text

    @torch.no_grad()
    def begin(self, tensors: Mapping[str, Tensor], group: Any) -> tuple[Future[Any] | None, Callable[[], list[Tensor]]]:
        """Send the messages: when all have arrived, and what gives the means and settles the memory then."""
        own = {k: self.with_error(k, x) for k, x in tensors.items()}
        packed = [self.pack(p.reshape(-1), real_type(tensors[k])) for k, p in own.items()]
        sizes = [m.numel() for m in packed]
        message = torch.cat(packed) if packed else torch.empty(0, dtype=torch.uint8)
        self.sent_bytes += message.numel()
        world = 1 if group is None else dist.get_world_size(group)
        arrived, there = None, message.view(1, -1)
        if group is not None and message.numel():
            there = message.new_empty(world, message.numel())
            work = dist.all_gather(list(there), message, group=group, async_op=True)
            assert work is not None
            arrived = work.get_future()

        @torch.no_grad()
        def finish() -> list[Tensor]:
            messages = [m.split(sizes) for m in there.expand(world, -1)]
            totals = list[Tensor]()
            for i, (k, p) in enumerate(own.items()):
                total = p.new_zeros(p.numel())
                for parts in messages:  # in the order of ranks: the same sum everywhere
                    self.add(total, parts[i], real_type(tensors[k]))
                totals.append(self.mean(total, world))
            if self.feedback and all(bool(total.isfinite().all()) for total in totals):
                for m, (k, p) in zip(packed, own.items(), strict=True):
                    self.add(p.view(-1), m, real_type(tensors[k]), -1)
                    self.errors[k] = p
            return [narrow(total, x) for total, x in zip(totals, tensors.values(), strict=True)]

        return arrived, finish


def real_type(x: Tensor) -> torch.dtype:
    """The type of a tensor's real numbers."""
    return wide_type(x) if x.is_complex() else x.dtype


def numbers(message: Tensor, kind: torch.dtype) -> Tensor:
    """Bytes as numbers of another type; copied, for a part of a message may begin anywhere."""
    return message.clone().view(kind)


def at_once(x: Tensor) -> Future[Tensor]:
    """A future that has come."""
    done = Future[Tensor]()
    done.set_result(x)
    return done
