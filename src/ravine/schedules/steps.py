"""Stairs: the rate stays, falls at once, and stays again."""

from bisect import bisect_right
from typing import Any

from ravine.schedules.schedule import Schedule


class Step(Schedule):
    """Lower after every so many steps, by the same factor each time.

        s(t) = γ^⌊t / every⌋

    As torch's StepLR. By name there are three steps in the run.

    Use it to repeat the recipes of convolutional networks, such as a tenth after each 30 epochs.

    He et al. 2016, section 4.2, name the steps (`MultiStep`)    https://arxiv.org/abs/1512.03385
    """

    name = "step"
    papers = ("he2016resnet",)
    every: int
    factor: float = 0.1

    def __call__(self, t: int) -> float:
        return self.factor ** (t // self.every)

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"every": max(1, total // 3)}


class MultiStep(Schedule):
    """Lower at given steps, by the same factor each time.

        s(t) = γ^(how many of `at` are ≤ t)

    As torch's MultiStepLR. By name the rate falls at a half and at three quarters of the run.

    Use it where a recipe names the moments: He et al. divide by ten after 32k and 48k of 64k iterations.

    He et al. 2016, section 4.2    https://arxiv.org/abs/1512.03385
    """

    name = "multi-step"
    aliases = ("multistep",)
    papers = ("he2016resnet",)
    at: tuple[int, ...] | list[int]
    factor: float = 0.1

    def __call__(self, t: int) -> float:
        return self.factor ** bisect_right(sorted(self.at), t)

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"at": (total // 2, 3 * total // 4)}
