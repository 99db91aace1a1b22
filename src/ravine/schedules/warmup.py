"""The first steps: up to the full rate, which then stays. A factor for other schedules."""

import math
from typing import Any, Literal

from ravine.schedules.schedule import Schedule


class Warmup(Schedule):
    """Straight up to 1.

        s(t) = min(1, (t + 1) / w)                  or from a start a:    min(1, a + (1 − a) t / w)

    w is `steps`; 0 is no warm-up. Without `start` the first step is made at 1/w, and the w-th at the full rate: no
    step is lost on a rate of zero. With it, it is torch's LinearLR(start_factor=a, total_iters=w). By name w is a tenth
    of the run.

    Use it with Adam and its kin, with large batches, and with transformers always: `Warmup(500) * Cosine(10_000)`.

    Goyal et al. 2017, section 2.2    https://arxiv.org/abs/1706.02677
    """

    name = "warmup"
    aliases = ("linear-warmup",)
    papers = ("goyal2017accurate",)
    ranges = {"steps": "[0, inf)", "start": "[0, 1]"}
    steps: int
    start: float | None = None

    def __call__(self, t: int) -> float:
        if t >= self.steps:
            return 1.0
        if self.start is None:
            return min(1.0, (t + 1) / self.steps)
        return min(1.0, self.start + (1 - self.start) * t / self.steps)

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"steps": max(1, total // 10)}


class ExponentialWarmup(Schedule):
    """Up to 1 ever more slowly.

        s(t) = 1 − exp(−(t + 1) / τ)

    By name τ is a twentieth of the run; τ = 0 is no warm-up.

    Use it for a warm-up without a corner.

    Ma & Yarats 2021    https://arxiv.org/abs/1910.04209
    """

    name = "exponential-warmup"
    papers = ("ma2021untuned",)
    ranges = {"tau": "[0, inf)"}
    tau: float

    def __call__(self, t: int) -> float:
        return -math.expm1(-(t + 1) / self.tau) if self.tau else 1.0

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"tau": max(1, total / 20)}


class UntunedWarmup(Schedule):
    """A warm-up with nothing to choose: as long as Adam's v̂ takes to be worth trusting.

        linear:         s(t) = min(1, (t + 1) (1 − β₂) / 2)
        exponential:    s(t) = 1 − exp(−(1 − β₂) (t + 1))

    β₂ is the optimizer's. That is 2/(1 − β₂) steps, 2000 for β₂ = 0.999. With it Adam did as well as RAdam.

    Use it before you tune a warm-up: `UntunedWarmup(0.999) * Linear(total)`.

    Ma & Yarats 2021    https://arxiv.org/abs/1910.04209
    """

    name = "untuned-warmup"
    aliases = ("untuned",)
    papers = ("ma2021untuned",)
    ranges = {"beta2": "[0, 1)"}
    beta2: float = 0.999
    form: Literal["linear", "exponential"] = "linear"

    def __call__(self, t: int) -> float:
        rate = (1 - self.beta2) * (t + 1)
        return min(1.0, rate / 2) if self.form == "linear" else -math.expm1(-rate)
