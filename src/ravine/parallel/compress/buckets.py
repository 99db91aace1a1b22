"""torch's hook for PowerSGD on DDP's buckets, with a memory that belongs to parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.futures import Future

from ravine.parallel.compress.compressor import wide

if TYPE_CHECKING:
    from ravine.parallel.compress.power_sgd import PowerSGD

TINY = 1e-30  # added to the norm of a column of P or Q, so that a gradient of zeros does not become NaN


class Part(NamedTuple):
    """A parameter's gradient in a bucket."""

    name: str
    at: int  # where its numbers begin
    shape: tuple[int, ...]  # with the dimensions as they lie in memory, and at least one

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


class Bucket:
    """A bucket as torch's hook wants it: numbers of at least 32 bits, and no gradient without a dimension or empty."""

    def __init__(self, given: GradBucket, names: Mapping[int, str]) -> None:
        self.index, self.is_last = given.index, given.is_last
        self.flat = wide(given.buffer())
        first = given.buffer().storage_offset()
        self.parts = [
            Part(names[id(p)], int(g.storage_offset() - first), in_memory(g))
            for p, g in zip(given.parameters(), given.gradients(), strict=True)
            if g.numel()
        ]

    def buffer(self) -> Tensor:
        return self.flat

    def gradients(self) -> list[Tensor]:
        return [self.flat[x.at : x.at + x.numel].view(x.shape) for x in self.parts]


def in_memory(g: Tensor) -> tuple[int, ...]:
    """The shape of a dense tensor's numbers as they lie one after another."""
    order = sorted(range(g.dim()), key=lambda i: -g.stride(i))
    return tuple(g.shape[i] for i in order) or (1,)


class Buckets:
    """What torch's hook does, and around it what it leaves to the user.

    torch keeps the memory by the numbers of buckets. DDP forms these anew after the first step, of a resumed run too:
    here the memory is taken apart by parameters when that happens, and put together again. torch's hook exchanges in
    callbacks, whose order over several buckets may differ between processes with gloo: here each bucket is waited for.
    """

    def __init__(self, of: PowerSGD, group: Any, names: Mapping[int, str], start: int) -> None:
        self.of, self.names = of, names
        self.state = PowerSGDState(group, of.rank, start, cast(int, of.min_compression_rate))
        self.state.orthogonalization_epsilon = cast(int, TINY)  # torch's types are narrower than what it takes
        self.state.rng = cast(Any, of)  # torch asks it for randint() only
        self.known: dict[int, list[Part]] = {}

    @torch.no_grad()
    def hook(self, given: GradBucket) -> Future[Tensor]:
        """The mean of one bucket."""
        of, state, bucket = self.of, self.state, Bucket(given, self.names)
        i, state.iter, compresses = bucket.index(), of.iter, of.iter >= self.state.start_powerSGD_iter
        if self.known.get(i) != bucket.parts:
            self.gather()
            self.spread(i, bucket)
        error, q, draws = state.error_dict.get(i), state.q_memory_dict.get(i), of.draws
        q, sent = None if q is None else q.clone(), state.total_numel_after_compression
        powerSGD_hook(state, cast(Any, bucket)).wait()
        of.iter, sent = state.iter, state.total_numel_after_compression - sent
        of.sent_bytes += (sent if compresses else bucket.flat.numel()) * bucket.flat.element_size()
        if compresses and not bool(bucket.flat.isfinite().all()):  # leave no trace
            of.draws = draws
            put_back(state.error_dict, i, error)
            put_back(state.q_memory_dict, i, q)
            if q is None:
                del state.p_memory_dict[i]
        done = Future[Tensor]()
        done.set_result(given.buffer().copy_(bucket.flat))
        return done

    def gather(self) -> None:
        """Take the memory of all buckets apart, by parameters."""
        for i, parts in self.known.items():
            if i in self.state.error_dict:
                for x in parts:
                    self.of.errors[x.name] = self.state.error_dict[i][x.at : x.at + x.numel].clone()
            if i in self.state.q_memory_dict:
                at = 0
                for name, _, m, r in self.matrices(parts):
                    self.of.qs[name] = self.state.q_memory_dict[i][at : at + m * r].view(m, r).clone()
                    at += m * r
        self.clear()

    def spread(self, i: int, bucket: Bucket) -> None:
        """Put the memory of a bucket's parameters together, where there is any."""
        errors, qs, flat, matrices = self.of.errors, self.of.qs, bucket.flat, self.matrices(bucket.parts)
        for x in bucket.parts:
            if x.name in errors and errors[x.name].numel() != x.numel:
                had = errors[x.name].numel()
                raise ValueError(f"PowerSGD: the memory of {x.name} has {had} numbers; the gradient has {x.numel}")
        if any(x.name in errors for x in bucket.parts):
            self.state.error_dict[i] = error = torch.zeros_like(flat)
            for x in bucket.parts:
                if x.name in errors:
                    error[x.at : x.at + x.numel] = errors.pop(x.name).view(-1)
        if matrices and all(name in qs and qs[name].shape == (m, r) for name, _, m, r in matrices):
            self.state.q_memory_dict[i] = torch.cat([qs.pop(name).view(-1) for name, *_ in matrices]).to(flat)
            self.state.p_memory_dict[i] = flat.new_empty(sum(n * r for _, n, _, r in matrices))
        self.known[i] = bucket.parts

    def matrices(self, parts: list[Part]) -> list[tuple[str, int, int, int]]:
        """What is compressed, in torch's order: by shape. Name, rows and columns of the matrix, columns of its Q."""
        by_shape: dict[tuple[int, int], list[str]] = {}
        for x in parts:
            shape = x.shape[0], x.numel // x.shape[0]
            if self.of.compresses(*shape):
                by_shape.setdefault(shape, []).append(x.name)
        return [(k, n, m, self.of.columns(n, m)) for (n, m), names in by_shape.items() for k in names]

    def clear(self) -> None:
        """Forget what lies in buckets."""
        for memory in (self.known, self.state.error_dict, self.state.p_memory_dict, self.state.q_memory_dict):
            memory.clear()


def put_back(memory: dict[int, Tensor], i: int, old: Tensor | None) -> None:
    """What was there, or nothing."""
    if old is None:
        memory.pop(i, None)
    else:
        memory[i] = old
