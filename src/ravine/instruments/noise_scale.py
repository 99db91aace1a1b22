"""The gradient noise scale: how many examples a batch needs before its gradient is more signal than noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from ravine.optimizer.metrics import norm
from ravine.rule.hyper import check_params

BLOCKS = 10  # of neighbouring steps, whose means are taken as independent
QUANTILE = 2.262  # of Student's t with BLOCKS - 1 degrees of freedom: 95 %


@dataclass(frozen=True)
class Estimate:
    """B_simple = tr Σ / |G|², and where it lies with 95 %."""

    value: float  # infinite where no signal can be told from the noise
    low: float
    high: float  # infinite where the signal may be none at all


class NoiseScale:
    """Measures B_simple = tr Σ / |G|² while a model trains: G is the true gradient, Σ the covariance of one example's.

    A batch much smaller than it is nearly all noise, and twice the batch is as good as twice the steps; one much
    larger is nearly all signal, and more examples are wasted. The norms of gradients of two batch sizes tell:

        E |g_b|² = |G|² + tr Σ / b
        |G|²  ≈ (B |g_B|² − b |g_b|²) / (B − b)
        tr Σ  ≈ (|g_b|² − |g_B|²) / (1/b − 1/B)

    Both are without bias, and averages of them over steps are divided. The small batches are the micro-batches of
    gradient accumulation, the halves of a batch, or the ranks of data parallel training:

        >>> import torch, ravine
        >>> model = torch.nn.Linear(8, 1)
        >>> opt = ravine.SGD(model.parameters(), lr=0.01)
        >>> noise = ravine.NoiseScale(model.parameters())
        >>> for step in range(100):
        ...     x = torch.randn(32, 8)
        ...     for part in x.chunk(4):
        ...         ((model(part).squeeze(1) - part.sum(1)).square().mean() / 4).backward()
        ...         noise.micro(len(part))
        ...     noise.step()
        ...     opt.step()
        ...     opt.zero_grad()
        >>> 1 < noise.value < 100
        True
        >>> noise.close()

    `micro(examples)` after each backward, `step()` before the optimizer's; in between nobody may clip or unscale the
    gradients. It costs a norm of each gradient in backward and one at the end, and with `every` only in some steps.
    A step whose micro-batches are not of one size is left out. It grows while the loss falls: look at it late, too.

    params: whose gradients count, such as model.parameters().
    every: 10 measures the first and then each tenth step only.
    average: β of the moving averages of `value`, β of the last and 1 − β of the new.

    McCandlish et al. 2018, section 2.2 and appendix A.1    https://arxiv.org/abs/1812.06162
    """

    def __init__(self, params: Iterable[Tensor], *, every: int = 1, average: float = 0.99):
        if every < 1 or not 0 <= average < 1:
            raise ValueError(f"every is {every} and average is {average}; take 1 or more, and 0 ≤ average < 1")
        check_params("NoiseScale", params)
        self.params = [p for p in params if p.requires_grad]
        self.every, self.average = every, average
        self.pairs: list[tuple[float, float]] = []  # |G|² and tr Σ, as each measured step estimates them
        self.count = 0  # steps, measured or not
        self._means = (0.0, 0.0)
        self._parts: list[Tensor] = []  # |g|² of this micro-batch, tensor by tensor
        self._micros: list[tuple[int, Tensor]] = []  # how many examples, and |g|²
        self._handles = [p.register_hook(self._arrived) for p in self.params]

    def _arrived(self, g: Tensor) -> None:
        """The gradient of one micro-batch, before it is added to those of others."""
        if self.count % self.every == 0:
            self._parts.append(squared(g))

    def micro(self, examples: int) -> None:
        """Call after each backward. examples: how many the loss is a mean of."""
        if self._parts:
            self._micros.append((examples, total(self._parts)))
            self._parts = []

    def step(self, *, ranks: int = 1) -> None:
        """Call after the last backward of a step, while the gradients are whole.

        ranks: of data parallel training, whose gradients are by now the means over all ranks. Then a single
        micro-batch will do, and each rank has an estimate of its own.
        """
        if self._parts:
            raise RuntimeError("a backward pass is not counted: call micro(examples) after each backward")
        self.count += 1
        micros, self._micros = self._micros, []
        if not micros:
            return
        n = len(micros)
        if n * ranks < 2:
            raise ValueError(
                "one batch size tells nothing: split the batch and call micro() after each part's backward"
            )
        if len({examples for examples, _ in micros}) > 1:
            return
        whole = total([squared(p.grad) for p in self.params if p.grad is not None])
        small, big = (x / n for x in (torch.stack([x for _, x in micros]).sum().item(), whole.item() / n))
        b = micros[0][0]
        pair = estimates(small, big, b, b * n * ranks)
        if all(map(math.isfinite, pair)):
            self.pairs.append(pair)
            a, b = self._means
            self._means = (
                self.average * a + (1 - self.average) * pair[0],
                self.average * b + (1 - self.average) * pair[1],
            )

    @property
    def value(self) -> float:
        """B_simple, from the moving averages: in examples. NaN before the first step."""
        return divided(self._means[1], self._means[0])

    def estimate(self, last: int | None = None) -> Estimate:
        """B_simple over the last steps that were measured, or over all, with its interval of 95 % (Fieller's)."""
        return fieller(self.pairs if last is None else self.pairs[-last:])

    def close(self) -> None:
        """Take the hooks away; what was measured stays."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def estimates(small: float, big: float, b: int, B: int) -> tuple[float, float]:
    """|G|² and tr Σ, from the squared norms of the gradients of b and of B examples."""
    return (B * big - b * small) / (B - b), (small - big) / (1 / b - 1 / B)


def fieller(pairs: list[tuple[float, float]]) -> Estimate:
    """The ratio of two means and its interval: all R for which mean(tr Σ − R |G|²) is not clearly other than 0.

    Fieller 1954, "Some problems in interval estimation", Journal of the Royal Statistical Society B 16
    """
    if len(pairs) < BLOCKS:
        raise ValueError(f"{len(pairs)} measured steps are too few for an interval; it takes {BLOCKS} or more")
    cuts = [i * len(pairs) // BLOCKS for i in range(BLOCKS + 1)]
    blocks = torch.stack([torch.tensor(pairs[a:b], dtype=torch.float64).mean(0) for a, b in pairwise(cuts)])
    (g, s), c = torch.tensor(pairs, dtype=torch.float64).mean(0).tolist(), torch.cov(blocks.T) / BLOCKS
    q = QUANTILE**2
    # (s − R g)² ≤ q (c_ss − 2 R c_gs + R² c_gg)
    two, one, zero = g * g - q * c[0, 0].item(), s * g - q * c[0, 1].item(), s * s - q * c[1, 1].item()
    root = math.sqrt(max(one * one - two * zero, 0.0))
    if two <= 0:  # the signal is not clearly other than 0: there is no upper end
        low = (one - root) / two if two < 0 < zero else 0.0
        return Estimate(divided(s, g), low, math.inf)
    return Estimate(divided(s, g), max((one - root) / two, 0.0), (one + root) / two)


def divided(s: float, g: float) -> float:
    """tr Σ / |G|², infinite where the signal is lost in the noise."""
    return math.nan if g == s == 0 else max(s, 0.0) / g if g > 0 else math.inf


def squared(x: Tensor) -> Tensor:
    """|x|² where x is; of sparse ones too."""
    x = x.detach()
    x = x.coalesce().values() if x.is_sparse else x
    return norm(x) ** 2


def total(parts: list[Tensor]) -> Tensor:
    """The sum of numbers that may lie on several devices."""
    return torch.stack([x.to(parts[0]) for x in parts]).sum()
