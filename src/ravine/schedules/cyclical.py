"""Up and down again and again, between two rates."""

from typing import Any

from ravine.schedules.schedule import Schedule


class Triangular(Schedule):
    """Straight up and straight down, over and over, between a low rate and 1.

        s(t) = low + (1 − low) · height · tri(t)         tri: 0 → 1 in `up` steps, 1 → 0 in `down`
        height = 1

    Without `down` it takes as long as `up`. Torch's CyclicLR(base_lr, max_lr) is this one with lr = max_lr and
    low = base_lr / max_lr; its cycled momentum is `Triangular(up, low=0).between(0.8, 0.9)`. By name there are two
    cycles in the run.

    Use it to find good rates in one run, and where the length of training is open.

    Smith 2017, section 3.1    https://arxiv.org/abs/1506.01186
    """

    name = "triangular"
    aliases = ("cyclical", "cyclic")
    papers = ("smith2017cyclical",)
    up: int
    low: float = 0.1
    down: int | None = None

    def __call__(self, t: int) -> float:
        length = self.up + (self.down or self.up)
        at = t % length
        tri = at / self.up if at <= self.up else (length - at) / (length - self.up)
        return self.low + (1 - self.low) * self.height(t, t // length) * tri

    def height(self, t: int, cycle: int) -> float:
        """How much of the way up a cycle goes; the first is number 0."""
        return 1.0

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"up": max(1, total // 4)}


class Triangular2(Triangular):
    """Up and down, each cycle half as high as the last.

        s(t) = low + (1 − low) · height · tri(t)         tri: 0 → 1 in `up` steps, 1 → 0 in `down`
        height = 2^(−cycle)

    Use it in the place of `Triangular` when the run is also to end well. As torch's CyclicLR with mode "triangular2".
    By name there are four cycles in the run.

    Smith 2017, section 3.1    https://arxiv.org/abs/1506.01186
    """

    name = "triangular2"
    aliases = ()
    papers = ("smith2017cyclical",)

    def height(self, t: int, cycle: int) -> float:
        return 0.5**cycle

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"up": max(1, total // 8)}


class ExpRange(Triangular):
    """Up and down, each peak lower by how many steps have been made.

        s(t) = low + (1 − low) · height · tri(t)         tri: 0 → 1 in `up` steps, 1 → 0 in `down`
        height = γᵗ

    Use it as `Triangular2`, where the peaks are to fall by a rate of your own. As torch's CyclicLR with mode
    "exp_range". By name there are four cycles in the run, and the height at its end is a tenth.

    Smith 2017, section 3.1    https://arxiv.org/abs/1506.01186
    """

    name = "exp-range"
    aliases = ()
    papers = ("smith2017cyclical",)
    ranges = {"gamma": "(0, 1]"}
    gamma: float = 0.99994

    def height(self, t: int, cycle: int) -> float:
        return self.gamma**t

    @classmethod
    def suited(cls, total: int) -> dict[str, Any]:
        return {"up": max(1, total // 8), "gamma": 0.1 ** (1 / total)}
