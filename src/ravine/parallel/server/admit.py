"""What a shard does with a push before its rule gets it: refuse it, make it smaller, or wait for more of them.

    ParameterServer(…, admit=[Finite(), StalenessLR(), ClipNorm(1.0)])

A push is what a worker sends: a gradient, or how far it moved. The policies act in the order of the list. τ is the
staleness of a push: how many steps the shard has made since the worker read the parameters for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.parallel.server.message import Push
from ravine.rule.hyper import value_of
from ravine.saved import finite, whole

MOST = 1.7e308


class Refused(Exception):
    """A push is not applied, for this reason."""


class Policy:
    """Decides about a push. Subclass it for your own: `factor` returns what to multiply the push by, or raises Refused.

    A policy serves one shard; the server gives a copy to each. What it learns is not saved.
    """

    needs_square = False  # the norm of the whole push, which the worker computes
    scales = True  # its factor may be another than 1

    def factor(self, push: Push, stale: int) -> float:
        """What the push is multiplied by. Raises Refused to leave it out."""
        raise NotImplementedError(f"{type(self).__name__} has no factor()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={x!r}' for k, x in vars(self).items() if k[0] != '_')})"


class Finite(Policy):
    """Refuses a push that has a NaN or an infinite number on any shard."""

    needs_square = True
    scales = False

    def factor(self, push: Push, stale: int) -> float:
        if push.square is None or not math.isfinite(push.square):
            raise Refused("not finite")
        return 1.0


class MaxStaleness(Policy):
    """Refuses a push with τ ≥ `steps`; the worker then reads the parameters again.

    With steps = max(1, ⌈σ² / ε⌉) it is Ringmaster ASGD: σ² is the variance of the gradient, ε the target for ‖∇f‖².

    Maranjyan, Tyurin & Richtárik 2025    https://arxiv.org/abs/2501.16168
    """

    scales = False

    def __init__(self, steps: int):
        self.steps = whole("MaxStaleness: steps", steps, 1, where="")

    def factor(self, push: Push, stale: int) -> float:
        if stale >= self.steps:
            raise Refused(f"staleness {stale} of {self.steps}")
        return 1.0


class StalenessLR(Policy):
    """Makes late pushes smaller: multiplies by 1 / max(1, τ)^power.

    Zhang, Gupta, Lian & Liu 2016, with power 1, the default    https://arxiv.org/abs/1511.05950
    """

    def __init__(self, power: float = 1.0):
        self.power = finite("StalenessLR: power", power, 0.0, MOST, where="")

    def factor(self, push: Push, stale: int) -> float:
        return max(1, stale) ** -self.power


class ClipNorm(Policy):
    """Scales a push down to the norm `most` where its norm over all shards is larger; 1 by default, a common choice."""

    needs_square = True

    def __init__(self, most: float = 1.0):
        self.most = finite("ClipNorm: most", most, 0.0, MOST, where="")
        if not self.most:
            raise ValueError("ClipNorm: most is 0, which would leave nothing of a push; give a number above 0")

    def factor(self, push: Push, stale: int) -> float:
        norm = math.sqrt(push.square) if push.square is not None else 0.0
        return min(1.0, self.most / norm) if norm > 0 else 1.0


class ImportanceWeight(Policy):
    """Weights a push by its number of samples: multiplies by w / w̄, with w its `weight` and w̄ the mean weight so far.

    Workers with batches of different sizes, or different numbers of local steps, then count by the samples that they
    have used, and the mean step size does not change.

    Token-weighted merging: Decoupled DiLoCo 2026    https://arxiv.org/abs/2604.21428
    """

    def __init__(self):
        self._sum, self._count = 0.0, 0

    def factor(self, push: Push, stale: int) -> float:
        if not 0 < push.weight < math.inf:
            raise Refused(f"weight {push.weight}")
        self._sum, self._count = self._sum + push.weight, self._count + 1
        return push.weight * self._count / self._sum


class Buffer(Policy):
    """Waits for `size` pushes and makes one step with their mean: a synchronous step of the workers that come first.

    fresh: refuse pushes that were not computed at the present parameters. With it, this is Rennala SGD (Tyurin &
        Richtárik 2023, https://arxiv.org/abs/2305.12387); without it, n-softsync (Zhang et al. 2016) and FedBuff
        (Nguyen et al. 2022, https://arxiv.org/abs/2106.06639).
    """

    def __init__(self, size: int, fresh: bool = False):
        self.size = whole("Buffer: size", size, 1, where="")
        self.fresh = value_of("Buffer: fresh", bool, fresh)
        self._sums: list[Tensor] = []
        self._count = 0

    def factor(self, push: Push, stale: int) -> float:
        if self.fresh and stale:
            raise Refused(f"staleness {stale}, and only fresh pushes count")
        return 1.0

    def add(self, tensors: Sequence[Tensor]) -> list[Tensor] | None:
        """The mean of the pushes, where these make it complete."""
        if not self._sums:
            self._sums = [torch.zeros_like(x) for x in tensors]
        for total, x in zip(self._sums, tensors, strict=True):
            total.add_(x)
        self._count += 1
        if self._count < self.size:
            return None
        made, self._sums, self._count = [x / self.size for x in self._sums], [], 0
        return made

    def state(self) -> dict[str, Any]:
        """What waits, for a snapshot."""
        return {"count": self._count, "sums": self._sums}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what waited."""
        self._count, self._sums = state["count"], list(state["sums"])
