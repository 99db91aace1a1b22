"""PowerSGD: a low rank with error feedback."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ravine.parallel.compress.compressor import Compressor, narrow
from ravine.rule.hyper import integer, value_of
from ravine.saved import whole

if TYPE_CHECKING:
    from ravine.parallel.compress.buckets import Buckets


class PowerSGD(Compressor):
    """Sends a matrix as two thin ones: a low-rank approximation, by one step of power iteration per call.

        Δ_r = G_r + E_r                 n × m, on process r
        P ← orth(mean_r Δ_r Q)          n × rank; Q is from the call before, and random at first
        Q ← mean_r Δ_rᵀ P               m × rank
        mean = P Qᵀ,  E_r ← Δ_r − P Qᵀ

        >>> import torch
        >>> from ravine.parallel.compress import PowerSGD
        >>> compressor, u, v = PowerSGD(rank=1), torch.arange(1.0, 9.0), torch.ones(6)
        >>> (mean,) = compressor.all_reduce_mean([torch.outer(u, v)])  # of rank 1: nothing is lost
        >>> torch.allclose(mean, torch.outer(u, v)), compressor.sent_bytes, mean.nbytes
        (True, 56, 192)

    P and Q are summed over processes, so what a process sends does not grow with their number. A tensor of more
    dimensions is a matrix of its first dimension by all others.

    rank: the columns of P and Q. More is more exact and sends more; the paper has 1 to 4, torch's hook 1.
    min_compression_rate: a tensor is compressed only if P and Q have fewer numbers than it, by more than this factor
        (2, as in torch's hook). Others, such as vectors, are sent whole and have no memory.
    seed: of the first Q, which is the same on all processes.

    Under DDP, `PowerSGD(rank=4).ddp_hook(model, start=1000)` uses torch's own hook (`powerSGD_hook`), with warm start
    and error feedback; the first `start` steps are not compressed. float16 and bfloat16 are sent as float32.

    It may fail to converge: Xie, Chen & Yuan 2025 (https://arxiv.org/abs/2509.11254) have a counterexample.

    Vogels, Karimireddy & Jaggi 2019, Algorithms 1 and 2    https://arxiv.org/abs/1905.13727
    """

    papers = ("vogels2019powersgd",)
    complex = False

    def __init__(self, rank: int = 1, *, min_compression_rate: float = 2.0, seed: int = 0) -> None:
        super().__init__()
        self.rank = whole("PowerSGD: rank", integer("PowerSGD: rank", rank), 1, where="")
        self.min_compression_rate = value_of("PowerSGD: min_compression_rate", float, min_compression_rate)
        if not 0 < self.min_compression_rate < math.inf:
            raise ValueError(
                f"PowerSGD: min_compression_rate is {self.min_compression_rate:g}; it must be above 0; 1 compresses "
                "whatever becomes smaller"
            )
        self.seed = whole("PowerSGD: seed", integer("PowerSGD: seed", seed), where="")
        if self.seed >= 2**32:
            raise ValueError(f"PowerSGD: seed is {self.seed}; it must be below 2**32")
        self.qs: dict[str, Tensor] = {}
        self.draws = self.iter = 0  # random matrices that were begun; steps under DDP
        self.buckets: Buckets | None = None

    def ddp_hook(
        self, model: DistributedDataParallel, process_group: dist.ProcessGroup | None = None, *, start: int = 1000
    ) -> None:
        """As `Compressor.ddp_hook`, but the first `start` steps, at least 2, are not compressed.

        Compression harms most in the beginning: let `start` be a tenth of all steps, and not less than the warm-up of
        the rate. 1000 is the default of torch's hook.
        """
        self.start = whole("PowerSGD: start", integer("PowerSGD: start", start), 2, where="")
        super().ddp_hook(model, process_group)

    def register(self, model: DistributedDataParallel, group: Any, names: Mapping[int, str]) -> None:
        from ravine.parallel.compress.buckets import Buckets  # here: torch's hook is slow to import

        buckets = Buckets(self, group, names, self.start)
        model.register_comm_hook(None, lambda _, bucket: buckets.hook(bucket))
        self.buckets = buckets

    @torch.no_grad()
    def settle(self, tensors: Mapping[str, Tensor], group: Any) -> list[Tensor]:
        own = {k: self.with_error(k, x) for k, x in tensors.items()}
        world = 1 if group is None else dist.get_world_size(group)
        matrices = {k: m for k, p in own.items() if (m := as_matrix(p)) is not None and self.compresses(*m.shape)}
        vectors = {k: p for k, p in own.items() if k not in matrices}
        draws, qs = self.draws, self.begun(matrices)
        sums = self.total([*vectors.values(), *(m @ qs[k] for k, m in matrices.items())], group)
        ps = {k: orthonormal(p) for k, p in zip(matrices, sums[len(vectors) :], strict=True)}
        found = self.total([m.mT @ ps[k] for k, m in matrices.items()], group)
        qs = {k: q.div_(world) for k, q in zip(matrices, found, strict=True)}
        means = {k: x.div_(world) for k, x in zip(vectors, sums, strict=False)}
        means |= {k: p @ qs[k].mT for k, p in ps.items()}
        if all(bool(x.isfinite().all()) for x in means.values()):
            self.errors |= {k: m.sub_(means[k]) for k, m in matrices.items()}
            self.qs |= qs
        else:
            self.draws = draws
        return [narrow(means[k], x) for k, x in tensors.items()]

    def begun(self, matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """An orthonormal Q for each matrix: that of the last call, or a random one."""
        found = {k: self.qs[k] for k in matrices if k in self.qs}
        if len(found) < len(matrices):
            random = torch.Generator().manual_seed(self.randint(1_000_000_000))
            for k, m in matrices.items():
                if k not in found:
                    shape = m.shape[1], self.columns(*m.shape)
                    found[k] = torch.randn(shape, generator=random, dtype=m.dtype).to(m.device)
        return {k: orthonormal(q) for k, q in found.items()}

    def total(self, tensors: Sequence[Tensor], group: Any) -> list[Tensor]:
        """The sum of each over the processes, all of a type in one all-reduce."""
        out = list(tensors)
        for kind in sorted({x.dtype for x in tensors}, key=str):
            at = [i for i, x in enumerate(tensors) if x.dtype == kind]
            flat = torch.cat([tensors[i].reshape(-1) for i in at])
            self.sent_bytes += flat.nbytes
            if group is not None and flat.numel():
                dist.all_reduce(flat, group=group)
            for i, part in zip(at, flat.split([tensors[i].numel() for i in at]), strict=True):
                out[i] = part.view(tensors[i].shape)
        return out

    def columns(self, n: int, m: int) -> int:
        """The columns of P and Q for a matrix of n × m."""
        return min(n, m, self.rank)

    def compresses(self, n: int, m: int) -> bool:
        """Whether a matrix of n × m is sent as P and Q."""
        return (n + m) * self.columns(n, m) * self.min_compression_rate < n * m

    def randint(self, high: int) -> int:
        """The next of the seed's random numbers; what torch's hook asks its NumPy generator for."""
        import numpy as np

        self.draws += 1
        return int(np.random.RandomState(self.seed).randint(high, size=self.draws)[-1])

    def rescale(self, factor: float) -> None:
        self.collect()
        super().rescale(factor)

    def reset(self) -> None:
        super().reset()
        self.qs.clear()
        if self.buckets is not None:
            self.buckets.clear()

    def collect(self) -> None:
        """Bring the memory out of DDP's buckets."""
        if self.buckets is not None:
            self.buckets.gather()

    def state_dict(self) -> dict[str, Any]:
        self.collect()
        qs = {k: q.clone() for k, q in self.qs.items()}
        return super().state_dict() | {"qs": qs, "seed": self.seed, "draws": self.draws, "iter": self.iter}

    def valid(self, given: Any) -> dict[str, Any]:
        found = super().valid(given)
        self.memories(found, "qs")
        return found | {k: whole(f"PowerSGD: {k}", found[k]) for k in ("seed", "draws", "iter")}

    def take(self, found: Mapping[str, Any]) -> None:
        self.reset()
        super().take(found)
        self.qs = {k: q.clone() for k, q in found["qs"].items()}
        self.seed, self.draws, self.iter = found["seed"], found["draws"], found["iter"]

    def __repr__(self) -> str:
        return f"PowerSGD(rank={self.rank}, min_compression_rate={self.min_compression_rate:g}, seed={self.seed})"


def as_matrix(p: Tensor) -> Tensor | None:
    """A tensor's first dimension and all others, or None where it has not two, or no numbers."""
    return p.reshape(p.shape[0], -1) if p.dim() > 1 and p.numel() else None


def orthonormal(x: Tensor) -> Tensor:
    """Orthonormal columns that span those of x."""
    return torch.linalg.qr(x).Q
