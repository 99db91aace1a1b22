"""Warm-up, stable, decay."""

import math
from typing import Any, Literal

from ravine.schedules.schedule import Schedule


class WSD(Schedule):
    """Up, level for most of the time, and down at the end.

        up:       (t + 1) / warmup
        level:    1
        down:     e + (1 − e) d(x),    x = (t − (total − decay)) / decay,    then e

        d(x) = 1 − x (linear),    1 − √x (sqrt),    (1 + cos πx) / 2 (cosine)
        down:     eˣ (exponential)

    Warm-up and decay may be 0 steps long. By name warm-up is a twentieth of the run and decay a fifth. MiniCPM's decay
    was exponential, over a tenth; Hägele et al. found 1 − √x to be the best.

    Use it when the length of training is open: keep a checkpoint of the level part, and decay from it whenever good
    weights are wanted.

    Hu et al. 2024 (MiniCPM), section 4    https://arxiv.org/abs/2404.06395
    Hägele et al. 2024, section 3    https://arxiv.org/abs/2405.18392
    """

    name = "wsd"
    aliases = ("warmup-stable-decay", "trapezoid", "cooldown")
    papers = ("hu2024minicpm", "hagele2024scaling")
    ranges = {"warmup": "[0, inf)", "decay": "[0, inf)", "end": "[0, 1]"}
    total: int
    warmup: int
    decay: int
    shape: Literal["linear", "sqrt", "cosine", "exponential"] = "sqrt"
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup + self.decay > self.total:
            raise ValueError(f"WSD: warmup {self.warmup} and decay {self.decay} are longer than total {self.total}")
        if self.shape == "exponential" and not self.end:
            raise ValueError("WSD: an exponential decay never ends at 0; give end, such as end=0.1")

    def __call__(self, t: int) -> float:
        if t < self.warmup:
            return (t + 1) / self.warmup
        if not self.decay:
            return 1.0
        x = min(1.0, max(0.0, (t - (self.total - self.decay)) / self.decay))
        match self.shape:
            case "exponential":
                return self.end**x
            case "linear":
                d = 1 - x
            case "sqrt":
                d = 1 - math.sqrt(x)
            case "cosine":
                d = (1 + math.cos(math.pi * x)) / 2
        return self.end + (1 - self.end) * d

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"total": total, "warmup": total // 20, "decay": max(1, total // 5)}
