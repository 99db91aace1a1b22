"""Time per step and memory, measured apart from the sweep: optimizers take turns while nothing else of ours runs."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from statistics import median, quantiles
from typing import Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from ..seeding import seed_all
from ..tasks import Data, Task
from ..threads import one_thread
from .passes import Passes, switch
from .routing import made
from .trial import Trial

T = TypeVar("T")


@dataclass(frozen=True)
class StepTime:
    """What a training step costs."""

    whole: float  # milliseconds: batch, forward, backward, update
    update: float  # milliseconds of it that the optimizer takes
    state_bytes: float = math.nan  # bytes that the optimizer keeps for each number that is trained
    peak: float = math.nan  # MiB of tensors that a step adds, at most, to those that were there before
    low: float = math.nan  # quartiles of the whole
    high: float = math.nan
    cpu: float = math.nan  # milliseconds of processor time in the whole; less than it where the machine was busy


def measure(
    trials: list[tuple[Trial, type]], task: Task, data: Data, seconds: float = 1.0
) -> list[StepTime | Exception]:
    """The median over interleaved turns, A B C A B C, on one thread, for about `seconds` in all; of each turn the mean
    of its 10 steps, since some methods do their dear work in every fifth or tenth step alone. Of one that raises an
    error that error, and the others go on."""
    runners, failed = dict[int, _Runner](), dict[int, Exception]()

    def told(i: int) -> StepTime:
        runner = runners[i]
        turns = [[1e3 * x for x in each[1:]] for each in (runner.whole, runner.update, runner.cpu)]  # the first warms
        low, whole, high = quantiles(turns[0], n=4, method="inclusive")
        return StepTime(whole, median(turns[1]), runner.state(), runner.peak(), low, high, median(turns[2]))

    def each(act: Callable[[int], T]) -> dict[int, T]:
        out: dict[int, T] = {}
        for i in range(len(trials)):
            try:
                if i not in failed:
                    out[i] = act(i)
            except Exception as error:
                failed[i] = error
        return out

    with one_thread():
        runners |= each(lambda i: _Runner(*trials[i], task, data))
        end, turns = time.perf_counter() + seconds, 0
        while turns < 4 or time.perf_counter() < end:
            each(lambda i: runners[i].turn())
            turns += 1
        found: dict[int, StepTime | Exception] = {**each(told), **failed}
    return [found[i] for i in range(len(trials))]


class _Runner:
    def __init__(self, trial: Trial, cls: type, task: Task, data: Data):
        seed_all(trial.seed)
        self.task, self.batch = task, trial.batch
        self.data = Data(data.x, data.y, None, None).to(trial.device)
        self.model = task.model().to(trial.device)
        self.opt = made(cls, self.model, dict(trial.hyper))
        self.passes = Passes(self.model, self.opt, trial.device, trial.precision, trial.compiled, task.loss)
        switch("train", self.model, self.opt)
        self.wait = torch.cuda.synchronize if trial.device == "cuda" else lambda: None
        self.whole: list[float] = []
        self.update: list[float] = []
        self.cpu: list[float] = []

    def turn(self, steps: int = 10) -> None:
        whole = update = 0.0
        worked = time.process_time()
        for _ in range(steps):
            start, passes = time.perf_counter(), 0.0
            rows = torch.randint(self.data.rows, (self.batch,)).to(self.data.device)
            batch = self.task.drawn(self.data, rows)

            def gradients(batch: Any = batch) -> torch.Tensor:
                nonlocal passes
                began = time.perf_counter()
                loss = self.passes.gradients(self.task, batch)
                self.wait()
                passes += time.perf_counter() - began
                return loss

            before = time.perf_counter()
            self.passes.move(gradients)
            self.wait()
            after = time.perf_counter()
            update += after - before - passes
            whole += after - start
        self.update.append(update / steps)
        self.whole.append(whole / steps)
        self.cpu.append((time.process_time() - worked) / steps)

    def state(self) -> float:
        kept = {id(x): x.nbytes for x in _tensors(self.opt.state_dict()["state"])}
        return sum(kept.values()) / sum(p.numel() for p in self.passes.params)

    def peak(self) -> float:
        """From torch's own account of what it allocates and frees."""
        self.model.zero_grad()
        if self.passes.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.turn(1)
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        with _silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            self.turn(1)
        results: Any = seen.profiler and seen.profiler.kineto_results  # whose types say less than there is
        events = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
        return max(accumulate((n for _, n in events), initial=0)) / 2**20


def _tensors(tree: Any) -> Iterable[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        yield from (x for part in tree.values() for x in _tensors(part))


@contextmanager
def _silent() -> Iterator[None]:
    """Without what the profiler's C++ prints to stderr about its own start and end."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
