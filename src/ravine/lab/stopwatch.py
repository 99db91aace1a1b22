"""Time per step, measured apart from the sweep: the optimizers take turns while nothing else of ours runs."""

import math
import time
from dataclasses import dataclass
from statistics import median

import torch

from .seeding import seed_all
from .tasks import Data, Task
from .threads import one_thread
from .trial import Trial, advance


@dataclass(frozen=True)
class StepTime:
    """Milliseconds: of a whole training step (batch, forward, backward, update), and of the update alone; the bytes of
    state for each number of the parameters, and the MiB of memory at the peak, nan where they were not measured."""

    whole: float
    update: float
    state_bytes: float = math.nan
    peak: float = math.nan


def measure(trials: list[tuple[Trial, type]], task: Task, data: Data, seconds: float = 1.0) -> list[StepTime]:
    """The median over interleaved turns of 5 steps, A B C A B C, on one thread, for about `seconds` in all."""
    with one_thread():
        runners = [_Runner(trial, cls, task, data) for trial, cls in trials]
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(runners[0].whole) < 15:
            for runner in runners:
                runner.turn()
    return [StepTime(1e3 * median(r.whole[5:]), 1e3 * median(r.update[5:])) for r in runners]  # the first turn warms up


class _Runner:
    def __init__(self, trial: Trial, cls: type, task: Task, data: Data):
        seed_all(trial.seed)
        self.task, self.batch, (self.x, self.y) = task, trial.batch, data[:2]
        self.model = task.model()
        self.opt = cls(self.model.parameters(), **dict(trial.hyper))
        self.whole: list[float] = []
        self.update: list[float] = []

    def turn(self, steps: int = 5) -> None:
        for _ in range(steps):
            start = time.perf_counter()
            rows = torch.randint(len(self.x), (self.batch,))
            loss = self.task.objective(self.model, self.model(self.x[rows]), self.y[rows])
            self.model.zero_grad()
            loss.backward()
            before = time.perf_counter()
            advance(self.opt, loss)
            after = time.perf_counter()
            self.update.append(after - before)
            self.whole.append(after - start)
