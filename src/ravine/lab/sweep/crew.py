"""Who works: hires workers, gives them jobs, hears them, and gives up those that fall silent."""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from ..errors import LabError
from ..protocol.records import Records
from .worker import Job, Message

STARTING = 240.0  # seconds more for a worker's first word: torch may come from a slow disk


class Worker(Protocol):
    """What an engine hires. All that it says comes into the mailbox; the last is ("gone", None, why)."""

    @property
    def name(self) -> str:
        """What it is called in the records."""
        ...

    def send(self, job: Job) -> None:
        """Gives a job to an idle worker."""

    def kill(self) -> None:
        """Ends it, whatever it does; what it had said before is in the mailbox then, and "gone"."""


Mailbox = SimpleQueue[tuple[Worker, Message]]


class Engine(Protocol):
    """Where workers come from."""

    def hire(self, mailbox: Mailbox, device: str) -> Worker:
        """Starts a worker, which says "idle" when it is ready for a job, and "alive" every few seconds."""
        ...

    def close(self) -> None:
        """Ends what is left of the engine itself."""


@dataclass
class _Place:
    """What is known of a worker."""

    device: str
    heard: float  # when it last said something
    job: Job = ()
    idle: bool = False
    prolonged: float = 0.0


class Crew:
    """The workers of a sweep, at most one for each of the devices.

    A worker that was not heard of for `patience` seconds is killed: it is stopped, or hangs. Records, if there are any,
    hold a lease for each trial in flight.
    """

    def __init__(self, engine: Engine, devices: Sequence[str], records: Records | None, patience: float):
        self.engine, self.free, self.records, self.patience = engine, list(devices), records, patience
        self.mailbox: Mailbox = SimpleQueue()
        self.places: dict[Worker, _Place] = {}
        self.clock = Clock(patience / 12)

    @property
    def busy(self) -> bool:
        """Whether a job is in flight."""
        return any(place.job for place in self.places.values())

    def give(self, queue: deque[Job]) -> None:
        """Jobs to those that are idle; while there are more jobs and a device is free, others are hired for them."""
        for worker, place in self.places.items():
            if place.idle and queue:
                place.job, place.idle = queue.popleft(), False
                self._lease(worker, place)
                worker.send(place.job)
        starting = sum(not place.job for place in self.places.values())
        for _ in range(min(len(queue) - starting, len(self.free))):
            device = self.free.pop(0)
            worker = self.engine.hire(self.mailbox, device)
            self.places[worker] = _Place(device, heard=self.clock.now + STARTING)

    def hear(self) -> tuple[Job, Message]:
        """The next message, and what the worker that says it has been given."""
        while True:
            self.clock.tick()
            if self.mailbox.empty():  # who has spoken is not silent
                self._give_up_the_silent()
            with suppress(Empty):
                worker, message = self.mailbox.get(timeout=self.clock.longest)
                break
        self.clock.tick()
        place = self.places[worker]
        job, place.heard = place.job, self.clock.now
        if message[0] == "gone":
            del self.places[worker]
            self.free.append(place.device)
        if message[0] in ("gone", "idle"):
            place.job, place.idle = (), message[0] == "idle"
            if self.records is not None:
                self.records.release(worker.name)
        elif job and self.clock.now - place.prolonged > self.patience / 2:
            self._lease(worker, place)
        return job, message

    def close(self) -> None:
        """Stop and join all workers."""
        try:
            for worker in self.places:
                worker.kill()
        finally:
            self.engine.close()
        if self.records is not None:
            with suppress(LabError):  # a full disk has been told already
                for worker in self.places:
                    self.records.release(worker.name)

    def _give_up_the_silent(self) -> None:
        """They are gone when the mail says so: a result may have come before."""
        for worker, place in self.places.items():
            if self.clock.now - place.heard > self.patience:
                worker.kill()

    def _lease(self, worker: Worker, place: _Place) -> None:
        place.prolonged = self.clock.now
        if self.records is not None:
            self.records.lease(place.job, worker.name, self.patience)


class Clock:
    """Seconds that passed while this process looked on. When a laptop sleeps, or everything is stopped for an hour, one
    look lasts an hour; it counts as a short one, so that workers which slept too have time to speak before they are
    given up. (On Linux and macOS time.monotonic() does not count sleep, on Windows it does; a stop counts everywhere.)
    """

    def __init__(self, longest: float):
        self.now, self.longest, self._last = 0.0, longest, time.monotonic()

    def tick(self) -> None:
        """Looks."""
        last, self._last = self._last, time.monotonic()
        self.now += min(self._last - last, 2 * self.longest)
