"""Workers on this machine, each a process and a thread that listens to it."""

import multiprocessing
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from ..tasks import Data
from .crew import Mailbox
from .worker import Job, work


class Processes:
    """Starts processes for a task; its data is pickled once, as plain bytes: no shared memory to run out of."""

    def __init__(self, task: str, folder: Path | None, data: Data, beat: float):
        self.task, self.folder, self.parcel, self.beat = task, folder, pickle.dumps(data), beat

    def hire(self, mailbox: Mailbox, device: str) -> "Process":
        """Starts one."""
        return Process(mailbox, self.parcel, self.task, self.folder, device, self.beat)

    def close(self) -> None:
        """There is nothing but the processes."""


class Process:
    """A process that does `work`."""

    def __init__(self, mailbox: Mailbox, parcel: bytes, *about: object):
        self.mailbox, self.parcel = mailbox, parcel
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, *about), daemon=True)
        with _deaf_to_ctrl_c():
            self._process.start()
        theirs.close()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """Its number."""
        return f"process {self._process.pid}"

    def send(self, job: Job) -> None:
        """An idle one reads, and the pipe has room."""
        with suppress(OSError):  # it died since: that comes by mail
            self._conn.send(job)

    def kill(self) -> None:
        """A stopped one too."""
        self._process.kill()
        self._thread.join()

    def _listen(self) -> None:
        """In a thread, since a worker may stop in the middle of a message, or of taking the data."""
        try:
            while True:
                message = self._conn.recv()
                if message[0] == "ready":
                    self._conn.send_bytes(self.parcel)
                else:
                    self.mailbox.put((self, message))
        except (EOFError, OSError):
            self._process.join()
            self._conn.close()
            self.mailbox.put((self, ("gone", None, f"exit code {self._process.exitcode}")))


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started inside does not hear Ctrl-C; we do, at the end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
