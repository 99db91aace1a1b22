"""The mixed strategy: all levels of difficulty from the beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.data.curriculum import one_each, paced
from ravine.data.pacing import Pace
from ravine.data.shuffle import Shuffle

PIECES = 1000  # of an epoch, in which the current level stays


class Mixed(Shuffle):
    """Draw a level of difficulty, each as often, and then a sample of that level.

        mixed       ℓ uniform in 1 … L                             however many samples a level has
        combined    ℓ as above with chance `mixed`, else the current level ⌈L · pace(t)⌉

        >>> import torch, ravine
        >>> lengths = torch.tensor([1, 1, 1, 1, 1, 1, 2, 3])  # drawn as often: 1, 2 and 3
        >>> order = ravine.data.Mixed(lengths, pace=ravine.data.pacing.linear(over=4))

    Without a pace it is the paper's mixed strategy. With one it is its combination with the naive curriculum, which
    trains at the current level alone: earlier levels are not forgotten, and later ones are prepared. In the paper it
    helped in all experiments, and the naive curriculum alone often harmed. There the level rises when the validation
    error stops falling; here it rises by the pace, which may be any function of yours.

    Samples are drawn with replacement, n of them in an epoch. All that is said of `Shuffle` holds.

    levels: the level of each sample; what is equal is one level, and few numbers make sense: lengths, or a difficulty
        in quantiles, `torch.bucketize(x, x.quantile(torch.linspace(0.1, 0.9, 9)))`. The paper's two, length and
        nesting, are one number: nesting · (longest + 1) + length.
    mixed: the share of mixed draws beside a pace; the authors' code has 1/5.

    Zaremba & Sutskever 2014    https://arxiv.org/abs/1410.4615
    """

    def __init__(
        self,
        levels: Tensor | Sequence[float],
        pace: Pace | None = None,
        *,
        mixed: float = 0.2,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
    ):
        levels = one_each("levels", levels)
        if pace is not None:
            paced("Mixed", pace)
        if not 0 <= mixed <= 1:
            raise ValueError(f"Mixed: mixed is {mixed!r}; it is a share in [0, 1]")
        super().__init__(levels, seed=seed, num_replicas=num_replicas, rank=rank, drop_last=drop_last)
        self.pace, self.mixed = pace, mixed
        _, level, self.counts = levels.unique(return_inverse=True, return_counts=True)
        self.sorted = level.argsort(stable=True)  # the samples of each level, one level after the other

    def order(self, epoch: int) -> Tensor:
        """The order of an epoch, for all processes together."""
        g, n, highest = self.generator(epoch), self.n, len(self.counts)
        level = torch.randint(highest, (n,), generator=g, device="cpu")
        if self.pace is not None:
            now = [math.ceil(highest * self.pace(epoch + i / PIECES)) for i in range(PIECES)]
            naive = torch.tensor(now, device="cpu").clamp(1, highest)[torch.arange(n, device="cpu") * PIECES // n] - 1
            level = torch.where(torch.rand(n, generator=g, device="cpu") < self.mixed, level, naive)
        within = torch.rand(n, generator=g, dtype=torch.float64, device="cpu") * self.counts[level]
        return self.sorted[(self.counts.cumsum(0) - self.counts)[level] + within.long()]
