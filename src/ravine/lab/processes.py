"""Workers on this machine, each a process and a thread that listens to it."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from .worker import Job, Message, work


class Process:
    """A worker. All that it says comes into the mailbox, and at last ("gone", None, why)."""

    def __init__(
        self,
        mailbox: "SimpleQueue[tuple[Process, Message]]",
        task: str,
        folder: Path | None,
        parcel: bytes,
        beat: float,
    ):
        self.mailbox, self.parcel = mailbox, parcel
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, task, folder, beat), daemon=True)
        with _deaf_to_ctrl_c():
            self._process.start()
        theirs.close()
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """What it is called in the records."""
        return f"process {self._process.pid}"

    def send(self, job: Job) -> None:
        """Gives it a job; it must be idle, so that it reads and the pipe has room."""
        with suppress(OSError):  # it died since: that comes by mail
            self._conn.send(job)

    def kill(self) -> None:
        """Ends it, whatever it does; what it had said before is in the mailbox then."""
        self._process.kill()
        self._thread.join()

    def _listen(self) -> None:
        """A thread, since a worker may stop in the middle of a message or of taking the data."""
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
