"""What a run on real machines should look like, from the delays of another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ravine.parallel.simulate.cluster import Cluster
from ravine.parallel.simulate.methods import Method
from ravine.parallel.simulate.problems import Problem
from ravine.parallel.simulate.run import Run
from ravine.parallel.simulate.simulator import simulate
from ravine.parallel.simulate.trace import Trace
from ravine.saved import whole


@dataclass(frozen=True)
class Prediction:
    """Of several simulated runs: at `times`, the middle of their losses, and the lowest and highest of them.

    staleness: which part of the accepted pushes is how stale.
    """

    times: list[float]
    losses: list[float]
    low: list[float]
    high: list[float]
    staleness: dict[int, float]
    runs: Sequence[Run]

    def holds(self, seconds: float, loss: float, slack: float = 0.0) -> bool:
        """True if such a loss at such a time lies between the lowest and the highest, widened by a part of each."""
        low, high = np.interp(seconds, self.times, self.low), np.interp(seconds, self.times, self.high)
        return bool(low * (1 - slack) <= loss <= high * (1 + slack))

    def distance(self, staleness: dict[int, int]) -> float:
        """How far a measured histogram of staleness is from the predicted one, in total variation: 0 same, 1 apart."""
        count = sum(staleness.values())
        keys = {*staleness, *self.staleness}
        return sum(abs(staleness.get(k, 0) / count - self.staleness.get(k, 0.0)) for k in keys) / 2


def predict(
    trace: Trace, problem: Problem, method: Method, *, until: float, seeds: Sequence[int] = range(10), **options: Any
) -> Prediction:
    """Simulate a run whose delays are drawn from a trace, once for each seed.

    trace: of a run on the machines in question; with any method and problem whose steps take as long.
    until: simulated seconds. options: as of `simulate`; `workers`: more or fewer than were recorded.

    Computing times are each worker's own, round trips those of all; both are drawn anew, so what hangs together in
    time, such as an hour in which all are slow, is spread.
    """
    workers = options.pop("workers", None)
    cluster = Cluster.from_trace(trace, None if workers is None else whole("predict: workers", workers, 1, where=""))
    runs = [simulate(problem, method, cluster, seed, until=until, **options) for seed in seeds]
    if not runs:
        raise ValueError("predict: there are no seeds; give one at least")
    losses = np.array([run.losses for run in runs])
    total = sum((run.staleness for run in runs), Counter[int]())
    count = sum(total.values())
    return Prediction(
        runs[0].times,
        np.median(losses, 0).tolist(),
        losses.min(0).tolist(),
        losses.max(0).tolist(),
        {k: n / count for k, n in sorted(total.items())},
        runs,
    )
