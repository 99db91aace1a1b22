"""Runs jobs on workers and yields what they say; the coordinator alone keeps records."""

import os
import pickle
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from .processes import Process
from .tasks import Data
from .trial import Trial
from .worker import Job, Message

ATTEMPTS = 3
STARTING = 240.0  # seconds more for a worker's first word: torch may come from a slow disk


class TrialFailed(RuntimeError):
    """A trial raised an error, or the processes that ran it died."""


def sweep(
    queue: deque[Job], task: str, folder: Path | None, data: Data, workers: int, patience: float = 60.0
) -> Iterator[tuple[str, Trial, Any]]:
    """Runs the jobs, and those that the caller appends meanwhile, until the queue is empty and none is in flight.

    Yields in no fixed order ("step", trial, step) as trials go on, ("result", trial, result) when they end, once each,
    and ("lost", trial, why) when their worker died or said nothing for `patience` seconds: it is replaced, and they are
    run again, three times at most. An error in a trial itself is not tried again.
    """
    parcel = pickle.dumps(data)  # pickled once, as plain bytes: no shared memory to run out of
    mailbox: SimpleQueue[tuple[Process, Message]] = SimpleQueue()
    crew: dict[Process, Job | None] = {}
    idle: list[Process] = []
    heard: dict[Process, float] = {}
    deaths: defaultdict[Job | None, list[str]] = defaultdict(list)
    done: set[Trial] = set()
    clock = _Clock(patience / 12)
    try:
        while queue or any(crew.values()):
            while idle and queue:
                worker = idle.pop()
                crew[worker] = queue.popleft()
                worker.send(crew[worker] or ())
            starting = sum(job is None for job in crew.values()) - len(idle)
            for _ in range(min(len(queue) - starting, workers - len(crew))):
                worker = Process(mailbox, task, folder, parcel, patience / 12)
                crew[worker], heard[worker] = None, clock.now + STARTING
            try:
                worker, (kind, trial, value) = mailbox.get(timeout=clock.longest)
            except Empty:
                clock.tick()
                for worker in [worker for worker in crew if clock.now - heard[worker] > patience]:
                    worker.kill()  # it is gone when the mail says so: a result may have come before
                continue
            clock.tick()
            heard[worker] = clock.now
            if kind == "failed":
                raise TrialFailed(f"a trial failed:\n{value}")
            if kind == "idle":
                crew[worker] = None
                idle.append(worker)
            elif kind == "gone":
                job = crew.pop(worker)
                idle = [other for other in idle if other is not worker]
                deaths[job].append(value)
                left = [trial for trial in job or () if trial not in done]
                if len(deaths[job]) == ATTEMPTS:
                    raise TrialFailed(f"{_outline(job)}: its worker process died {ATTEMPTS} times "
                                      f"({', '.join(deaths[job])})")  # fmt: skip
                if job and left:
                    queue.appendleft(job)
                for trial in left:
                    yield "lost", trial, value
            elif trial is not None and trial not in done:  # not one that a job run again has to go through
                if kind == "result":
                    done.add(trial)
                yield kind, trial, value
    finally:
        for worker in crew:
            worker.kill()


class _Clock:
    """Seconds that passed while this process looked on. When a laptop sleeps, or everything is stopped for an hour, one
    look lasts an hour; it counts as a short one, so that workers which slept too have time to speak before they are
    given up. (On Linux and macOS time.monotonic() does not count sleep, on Windows it does; a stop counts everywhere.)
    """

    def __init__(self, longest: float):
        self.now, self.longest, self._last = 0.0, longest, time.monotonic()

    def tick(self) -> None:
        last, self._last = self._last, time.monotonic()
        self.now += min(self._last - last, 2 * self.longest)


def _outline(job: Job | None) -> str:
    if job is None:
        return "before its first trial"
    return ", then ".join(f"{t.optimizer} at {dict(t.hyper)} with seed {t.seed}" for t in job)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
