"""Lower when nothing gets better: the one schedule that is a state machine."""

import math
from typing import Any, Literal

from ravine.saved import entries, finite, whole
from ravine.schedules.schedule import Schedule


class Plateau(Schedule):
    """Lower, by a factor, whenever a reported metric has not improved for a while.

        s ← max(factor · s, end)    after more than `patience` reports in a row that are no better than the best

    Better is less (mode "min") or more ("max") than the best by `threshold`, relative to it ("rel") or not ("abs").
    For `cooldown` reports after it has fallen it does not count. As torch's ReduceLROnPlateau with eps = 0, but that
    counts steps of the scheduler, and this one reports, so that it goes with others:

        >>> import ravine, torch
        >>> from ravine.schedules import Plateau, Warmup
        >>> opt = ravine.SGD([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
        >>> schedule = ravine.Scheduler(opt, lr=Warmup(1) * Plateau(factor=0.5, patience=1))
        >>> for loss in (3.0, 3.0, 3.0):  # of validation, whenever there is one
        ...     schedule.report(loss)
        >>> opt.param_groups[0]["lr"]
        0.5

    It remembers, in `state`: one of them is for one run. A Scheduler saves what it remembers.

    Use it with a validation set, where the length of training is open.

    He et al. 2016, section 3.4: "when the error plateaus"    https://arxiv.org/abs/1512.03385
    """

    name = "plateau"
    aliases = ("reduce-on-plateau",)
    papers = ("he2016resnet",)
    ranges = {"factor": "(0, 1)", "patience": "[0, inf)", "cooldown": "[0, inf)", "end": "[0, 1]"}
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    mode: Literal["min", "max"] = "min"
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        best = math.inf if self.mode == "min" else -math.inf
        object.__setattr__(self, "_state", {"scale": 1.0, "best": best, "bad": 0, "cooling": 0})

    @property
    def state(self) -> dict[str, Any]:
        """What it remembers: the scale, the best metric, reports since that were no better, reports to pass over."""
        return self.__dict__["_state"]

    def remembered(self, saved: Any) -> dict[str, Any]:
        """A saved state, or ValueError where it is none."""
        given, who = entries("Plateau", saved, self.state, only=True), "Plateau: {}".format
        ends = {"scale": (0.0, 1.0), "best": (-math.inf, math.inf)}
        return {k: finite(who(k), x, *ends[k]) if k in ends else whole(who(k), x) for k, x in given.items()}

    def __call__(self, t: int) -> float:
        return self.state["scale"]

    def report(self, metric: float) -> None:
        """Take note of a metric, and lower the scale where it is time. A NaN is no improvement."""
        s, margin = self.state, self.threshold if self.mode == "min" else -self.threshold
        edge = s["best"] * (1 - margin) if self.threshold_mode == "rel" else s["best"] - margin
        if metric < edge if self.mode == "min" else metric > edge:
            s["best"], s["bad"] = metric, 0
        else:
            s["bad"] += 1
        if s["cooling"]:
            s["cooling"] -= 1
            s["bad"] = 0
        if s["bad"] > self.patience:
            s.update(scale=max(self.factor * s["scale"], self.end), cooling=self.cooldown, bad=0)

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"patience": total // 4}
