"""Falls that know no end: they need not be told how long training will be."""

import math
from typing import Any

from ravine.schedules.schedule import Schedule


class Exponential(Schedule):
    """The same fraction lower at every step.

        s(t) = γᵗ

    As torch's ExponentialLR. By name it is made for a run: γ = 0.01^(1/total), a hundredth at the end.

    Use it to repeat old recipes. It falls fastest at the beginning, when a large rate still helps, and needs an end
    that is chosen well.

    Senior et al. 2013    https://doi.org/10.1109/ICASSP.2013.6638963
    """

    name = "exponential"
    aliases = ("exp",)
    papers = ("senior2013rates",)
    ranges = {"gamma": "(0, inf)"}
    gamma: float

    def __call__(self, t: int) -> float:
        return self.gamma**t

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"gamma": 0.01 ** (1 / total)}


class InverseTime(Schedule):
    """As 1/t: the sum of the steps has no limit, that of their squares has one.

        s(t) = 1 / (1 + γ t)

    By name it is made for a run: γ = 9/total, a tenth at the end.

    Use it for convex problems, where it is what theory asks for: γ = η₀ λ with λ the strength of the L2 penalty.
    Networks want something that falls later.

    Robbins & Monro 1951, equation 6    https://doi.org/10.1214/aoms/1177729586
    Bottou 2012    https://doi.org/10.1007/978-3-642-35289-8_25
    """

    name = "inverse-time"
    aliases = ("1/t", "time", "robbins-monro")
    papers = ("robbins1951stochastic", "bottou2012tricks")
    gamma: float

    def __call__(self, t: int) -> float:
        return 1 / (1 + self.gamma * t)

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"gamma": 9 / total}


class InverseSqrt(Schedule):
    """A linear warm-up, then as 1/√t: the schedule of the first transformer.

        s(t) = min((t + 1) / w, √(w / (t + 1)))

    w is `warmup`; the peak is 1, after w − 1 steps. The paper's rate d^(−½) min(t^(−½), t w^(−3/2)) is this one with
    lr = (d w)^(−½). By name w is a twentieth of the run. w = 0 is no warm-up: 1/√(t + 1).

    Use it to repeat such recipes, and where the length of training is open.

    Vaswani et al. 2017, equation 3    https://arxiv.org/abs/1706.03762
    """

    name = "inverse-sqrt"
    aliases = ("noam", "rsqrt", "inverse-square-root")
    papers = ("vaswani2017attention",)
    ranges = {"warmup": "[0, inf)"}
    warmup: int

    def __call__(self, t: int) -> float:
        w = max(1, self.warmup)
        return min((t + 1) / w, math.sqrt(w / (t + 1)))

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"warmup": max(1, total // 20)}
