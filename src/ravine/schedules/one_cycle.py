"""One-cycle, and the curve through given points that it is made of."""

import math
from itertools import pairwise
from typing import Literal

from ravine.schedules.schedule import Schedule


class Points(Schedule):
    """A curve through points (t, value), in lines or in half cosines; before and after them it is flat.

        >>> from ravine.schedules import Points
        >>> lr = Points(((0, 0.1), (50, 1.0), (100, 0.0)), ease="linear")
        >>> lr(0), lr(25), lr(1000)
        (0.1, 0.55, 0.0)

    values: True if these are values themselves, and not multiples.
    """

    points: tuple[tuple[float, float], ...]
    ease: Literal["linear", "cosine"] = "linear"
    values: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.points) < 2 or any(a[0] > b[0] for a, b in pairwise(self.points)):
            raise ValueError(f"Points: {self.points} must be two or more (t, value), in the order of their t")

    def __call__(self, t: int) -> float:
        for (start, a), (stop, b) in pairwise(self.points):
            if t < stop:
                way = max(0.0, (t - start) / (stop - start))
                return a + (b - a) * (way if self.ease == "linear" else (1 - math.cos(math.pi * way)) / 2)
        return self.points[-1][1]

    @property
    def absolute(self) -> bool:
        return self.values


class OneCycle(Schedule):
    """Up to a rate that is almost too large, down to next to nothing, in one cycle: super-convergence.

        s: 1/div → 1 in the first `warm` of the steps,    1 → 1/(div · final_div) in the others

        momentum(low, high): high → low,    low → high

    With three_phase the way down takes as long as the way up, and the rest goes from 1/div to the end. The numbers are
    those of torch's OneCycleLR (Howard's form, whose halves are cosines) with lr = max_lr; the paper's has lines,
    ease="linear", and three phases. Momentum goes the other way, in optimizers that have `betas` as β₁:

        >>> import ravine, torch
        >>> from ravine.schedules import OneCycle
        >>> opt = ravine.AdamW([torch.nn.Parameter(torch.zeros(3))], lr=1e-2)
        >>> cycle = OneCycle(1000)
        >>> schedule = ravine.Scheduler(opt, lr=cycle, momentum=cycle.momentum(0.85, 0.95))
        >>> opt.param_groups[0]["lr"], opt.param_groups[0]["betas"]
        (0.0004, (0.95, 0.999))

    Use it for short runs of convolutional networks, with the largest lr at which a short test does not diverge.

    Smith & Topin 2018    https://arxiv.org/abs/1708.07120
    Smith 2018, section 4.3, of momentum    https://arxiv.org/abs/1803.09820
    """

    name = "one-cycle"
    aliases = ("super-convergence",)
    papers = ("smith2018superconvergence", "smith2018disciplined")
    ranges = {"warm": "(0, 1)", "div": "[1, inf)", "final_div": "(0, inf)"}
    total: int
    warm: float = 0.3
    div: float = 25.0
    final_div: float = 1e4
    ease: Literal["linear", "cosine"] = "cosine"
    three_phase: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.three_phase and self.warm > 0.5:
            raise ValueError(
                f"OneCycle: warm is {self.warm:g}; with three phases up and down each take it: at most 0.5"
            )

    def __call__(self, t: int) -> float:
        start = 1 / self.div
        down = (start,) if self.three_phase else ()
        return Points(self._at(start, 1.0, *down, start / self.final_div), self.ease)(t)

    def momentum(self, low: float = 0.85, high: float = 0.95) -> Points:
        """The momentum that goes with it, as absolute values: `high` at the ends, `low` where the rate peaks."""
        return Points(self._at(high, low, high, *((high,) if self.three_phase else ())), self.ease, values=True)

    def _at(self, *values: float) -> tuple[tuple[float, float], ...]:
        """These values at the turns: the first step, the peak, with three phases the foot, and the last step."""
        peak = max(0.0, self.warm * self.total - 1)
        turns = (0.0, peak, 2 * peak, self.total - 1.0) if self.three_phase else (0.0, peak, self.total - 1.0)
        return tuple(zip(turns, values, strict=True))
