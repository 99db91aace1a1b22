"""Workers on a Ray cluster: that of RAY_ADDRESS, or one that is started here, for this machine alone, and ended."""

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from ravine.parallel.engines.cluster import join, ray

from ..errors import LabError
from ..tasks import Data
from .crew import Mailbox
from .worker import Job, Message, serve


class Ray:
    """Hires actors of one CPU, and one GPU if they are to use it; the data is put into the cluster once."""

    def __init__(self, task: str, folder: Path | None, data: Data, beat: float, devices: Sequence[str]):
        self.about = (task, folder, beat)
        self.ours = join(len(devices))
        have, gpus = ray.cluster_resources(), sum(device != "cpu" for device in devices)
        for name, count in (("CPU", len(devices)), ("GPU", gpus)):
            if count > have.get(name, 0):
                self.close()
                raise LabError(f"--workers {','.join(devices)}: the Ray cluster has {have.get(name, 0):g} {name}s, and "
                               f"each worker takes one")  # fmt: skip
        self.parcel = ray.put(pickle.dumps(data))

    def hire(self, mailbox: Mailbox, device: str) -> "RayWorker":
        """Starts an actor, on whichever machine; a GPU is the only one that it sees there."""
        gpus = int(device != "cpu")
        take: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_concurrency": 2}
        actor: Any = ray.remote(**take)(_Actor).remote()
        said = actor.work.remote([os.getcwd(), *sys.path], self.parcel, "cuda" if gpus else "cpu", *self.about)
        return RayWorker(mailbox, actor, said)

    def close(self) -> None:
        """Ends the cluster if it was started here."""
        if self.ours:
            ray.shutdown()


class RayWorker:
    """An actor, and a thread that listens to it."""

    def __init__(self, mailbox: Mailbox, actor: Any, said: Any):
        self.mailbox, self.actor, self.said = mailbox, actor, said
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Ray's own number of it."""
        return f"actor {self.actor._actor_id.hex()}"

    def send(self, job: Job) -> None:
        """Does not wait."""
        self.actor.take.remote(job)

    def kill(self) -> None:
        """Ray ends the process that does not end itself."""
        ray.kill(self.actor)
        self._thread.join()

    def _listen(self) -> None:
        try:
            for message in self.said:
                self.mailbox.put((self, ray.get(message)))
            why = "it ended"
        except ray.exceptions.RayError as error:
            why = type(error).__name__
        self.mailbox.put((self, ("gone", None, why)))


class _Actor:
    """Does what a process of `processes` does: works in one thread, speaks and beats in another."""

    def __init__(self):
        self.jobs: SimpleQueue[Job] = SimpleQueue()

    def take(self, job: Job) -> None:
        self.jobs.put(job)

    def work(
        self, path: list[str], parcel: bytes, device: str, task: str, folder: Path | None, beat: float
    ) -> Iterator[Message]:
        sys.path += [folder for folder in path if folder not in sys.path]  # where the caller finds a task of his own
        said: SimpleQueue[Message] = SimpleQueue()
        about = (task, folder, device, said.put, lambda: parcel, self.jobs.get)
        Thread(target=serve, args=about, daemon=True).start()
        while True:
            try:
                yield said.get(timeout=beat)
            except Empty:
                yield "alive", None, None
