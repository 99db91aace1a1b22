"""The easy samples first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ravine.data.pacing import Pace
from ravine.data.shuffle import Shuffle


class Curriculum(Shuffle):
    """Shuffle among the easiest samples, and let more and more come in.

        open(t) = the first ⌊n · pace(t) + ½⌋ samples, sorted by difficulty
        a pass gives each open sample once, shuffled; the next pass has those that are open then

        >>> import torch, ravine
        >>> difficulty = torch.tensor([0.3, 0.1, 0.9, 0.2])
        >>> order = ravine.data.Curriculum(difficulty, ravine.data.pacing.step(over=1, start=0.5))
        >>> sorted(order.order(0).tolist()), sorted(order.order(1).tolist())
        ([1, 1, 3, 3], [0, 1, 2, 3])

    An epoch has n samples also while few are open, so that schedules and comparisons count the same steps. It begins
    with a new pass. Once all are open it is one shuffled pass over everything. All that is said of `Shuffle` holds:
    the order is a function of seed and epoch (and of difficulty and pace, which must be the same on every process).

    difficulty: a number for each sample: what you know of it (a length, a noise level), or `difficulty.losses(…)`.
    pace: the share that is open after so many epochs: `pacing.root(over=10)`, or any function of your own.
    first: "easy", or one of the two controls that tell order from pace: "hard" is the anti-curriculum, "random" a
        fixed random order with the same pace. Compare with plain `Shuffle` too: in Wu et al. most of a gain was the
        pace's, and curricula helped where time was short or labels were noisy.

    Bengio, Louradour, Collobert & Weston 2009    https://doi.org/10.1145/1553374.1553380
    Wu, Dyer & Neyshabur 2021    https://arxiv.org/abs/2012.03107
    """

    def __init__(
        self,
        difficulty: Tensor | Sequence[float],
        pace: Pace,
        *,
        first: Literal["easy", "hard", "random"] = "easy",
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        drop_last: bool = False,
    ):
        difficulty = one_each("difficulty", difficulty)
        super().__init__(difficulty, seed=seed, num_replicas=num_replicas, rank=rank, drop_last=drop_last)
        if first not in ("easy", "hard", "random"):
            raise ValueError(f"Curriculum: first is {first!r}; easy, hard or random")
        paced("Curriculum", pace)
        self.pace, self.first = pace, first
        self.sorted = difficulty.argsort(descending=first == "hard", stable=True)

    def open(self, epochs: float) -> int:
        """How many samples are open after so many epochs."""
        share = self.pace(epochs)
        if not share > 0:
            raise ValueError(f"the pace of a curriculum is {share!r} after {epochs} epochs; it must be above 0")
        return max(1, min(self.n, int(self.n * share + 0.5)))

    def order(self, epoch: int) -> Tensor:
        """The order of an epoch, for all processes together."""
        g = self.generator(epoch)
        by = (
            torch.randperm(self.n, generator=self.generator(-1), device="cpu")
            if self.first == "random"
            else self.sorted
        )
        passes: list[Tensor] = []
        left = self.n
        while left:
            among = torch.randperm(self.open(epoch + 1 - left / self.n), generator=g, device="cpu")
            passes.append(by[among[:left]])
            left -= len(passes[-1])
        return torch.cat(passes)


def paced(owner: str, pace: object) -> None:
    """Raise TypeError unless this is a function of the epochs."""
    if not callable(pace) or isinstance(pace, type):
        raise TypeError(f"{owner}: pace is {pace!r}; give a function of the epochs, such as pacing.root(over=10)")


def one_each(name: str, x: Tensor | Sequence[float]) -> Tensor:
    """The numbers of all samples on the CPU, or an error that says what they are."""
    if not isinstance(x, Tensor):
        try:
            x = torch.as_tensor(x)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name} is a {type(x).__name__}; give a tensor or list of one number a sample") from error
    if x.dim() != 1 or not len(x) or x.isnan().any():
        raise ValueError(f"{name} is a tensor of one number for each sample and no NaN, not of shape {tuple(x.shape)}")
    return x.detach().cpu()
