"""Falls that end when training ends."""

import math
from typing import Any

from ravine.schedules.schedule import Schedule


class Polynomial(Schedule):
    """Down to the end along a power of what is left.

        s(t) = e + (1 − e) (1 − t / T)^power,    then e

    T is `total`, e is `end`. With end = 0 it is torch's PolynomialLR.

    Use it for segmentation, where power = 0.9 is the custom.

    Chen et al. 2018 (DeepLab), section 4    https://arxiv.org/abs/1606.00915
    """

    name = "polynomial"
    aliases = ("poly",)
    papers = ("chen2018deeplab",)
    total: int
    power: float = 1.0
    end: float = 0.0

    def __call__(self, t: int) -> float:
        return self.end + (1 - self.end) * (1 - min(1, t / self.total)) ** self.power


class Linear(Schedule):
    """Straight down to the end.

        s(t) = 1 − (1 − e) t / T,    then e

    T is `total`, e is `end`: 0 unless you say so. As torch's LinearLR from 1 to e.

    Use it, after a warm-up, as the first thing to try: theory says that the last iterate wants a rate that goes to zero
    in a line, and in wide comparisons it did as well as a cosine or better.

    Defazio et al. 2023    https://arxiv.org/abs/2310.07831
    Bergsma et al. 2025    https://arxiv.org/abs/2502.15938
    """

    name = "linear"
    aliases = ("linear-to-zero", "linear-decay")
    papers = ("defazio2023schedule", "bergsma2025straight")
    total: int
    end: float = 0.0

    def __call__(self, t: int) -> float:
        return 1 - (1 - self.end) * min(1, t / self.total)


class Cosine(Schedule):
    """Down along half a cosine: slow, fast, slow.

        s(t) = e + (1 − e) (1 + cos(π t / T)) / 2,    then e

    T is `total`, e is `end`. Until T it is torch's CosineAnnealingLR with T_max = T; torch's goes up again after that.

    Use it where everybody does: it asks for the length of training and for nothing else. Language models often end at
    e = 0.1.

    Loshchilov & Hutter 2017, equation 5, without restarts    https://arxiv.org/abs/1608.03983
    """

    name = "cosine"
    aliases = ("cosine-annealing", "cosine-decay")
    papers = ("loshchilov2017sgdr",)
    total: int
    end: float = 0.0

    def __call__(self, t: int) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(1, t / self.total))) / 2


class WarmRestarts(Schedule):
    """SGDR: a cosine that starts over, each time longer by a factor.

        s(t) = e + (1 − e) (1 + cos(π c / Tᵢ)) / 2       Tᵢ₊₁ = factor · Tᵢ

    T₀ is `period`, c the steps since the last restart, e is `end`. As torch's CosineAnnealingWarmRestarts. By name it
    is made for a run of three cosines, each twice as long as the last.

    Use it to have good weights several times on the way, or to average the models that stand before the restarts.

    Loshchilov & Hutter 2017, equation 5    https://arxiv.org/abs/1608.03983
    """

    name = "warm-restarts"
    aliases = ("sgdr", "cosine-restarts")
    papers = ("loshchilov2017sgdr",)
    period: int
    factor: int = 1
    end: float = 0.0

    def __call__(self, t: int) -> float:
        period = self.period
        if self.factor == 1:
            t %= period
        while t >= period:
            t, period = t - period, period * self.factor
        return Cosine(period, self.end)(t)

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"period": -(-total // 7), "factor": 2}
