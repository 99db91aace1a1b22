"""Shards and workers as processes of this machine, which speak over sockets that only they can open.

A shard that dies is started again from its snapshot, if it has one; a worker that dies is missed by nobody.
"""

from __future__ import annotations

import os
import pickle
import queue
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from multiprocessing import AuthenticationError, connection, get_context
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from ravine.parallel.server.message import Reply, Request
from ravine.parallel.server.plan import Plan, open_shard
from ravine.parallel.server.wire import packed, unpacked

SPAWN = get_context("spawn")


class ServerLost(RuntimeError):
    """A shard does not answer."""


class Local:
    """Processes of this machine."""

    def __init__(self, plan: Plan, patience: float, restarts: int):
        self.plan, self.patience = plan, patience
        self.folder = Path(tempfile.mkdtemp(prefix="ravine-"))  # nobody else may enter it
        self.key = os.urandom(32)
        self.left = [restarts if plan.folder is not None else 0 for _ in plan.placement.places]
        self.shards = [self.start(i) for i in range(len(self.left))]
        self.closing = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        self.workers: list[LocalWorker] = []

    def start(self, i: int) -> Any:
        """A process that serves a shard."""
        process = SPAWN.Process(target=serve, args=(pickle.dumps(self.plan), i, self.address(i), self.key), daemon=True)
        process.start()
        return process

    def address(self, i: int) -> str:
        """Where a shard listens."""
        return str(self.folder / f"{i}") if os.name != "nt" else rf"\\.\pipe\{self.folder.name}-{i}"

    def watch(self) -> None:
        """Start shards again that have died."""
        while not self.closing.is_set():
            connection.wait([x.sentinel for x in self.shards if x.exitcode is None], timeout=0.2)
            for i, process in enumerate(self.shards):
                if process.exitcode is not None and self.left[i] > 0 and not self.closing.is_set():
                    self.left[i] -= 1
                    self.shards[i] = self.start(i)

    def connect(self) -> Callable[[int], Lines]:
        """Makes lines to all shards, in whatever process."""
        dtypes = [[x.dtype for x in self.plan.placement if x.place == i] for i in self.plan.placement.places]
        return Connect([self.address(i) for i in range(len(self.shards))], self.key, dtypes, self.patience)

    def hire(self, work: Callable[..., Any], *args: Any) -> LocalWorker:
        """A process that runs a function."""
        worker = LocalWorker(work, args)
        self.workers.append(worker)
        return worker

    def kill_shard(self, i: int) -> None:
        """End a shard without a word, as a crash would."""
        self.shards[i].kill()
        self.shards[i].join()

    def close(self) -> None:
        """End all processes that were started here."""
        self.closing.set()
        self.watcher.join()
        for process in [*self.shards, *(x.process for x in self.workers)]:
            if process.is_alive():
                process.kill()
            process.join()
            process.close()
        rmtree(self.folder, ignore_errors=True)


class LocalWorker:
    """A process that runs a function, and what came of it."""

    def __init__(self, work: Callable[..., Any], args: Sequence[Any]):
        self.said, theirs = SPAWN.Pipe(duplex=False)
        self.process: Any = SPAWN.Process(target=do, args=(theirs, pickle.dumps((work, args))), daemon=True)
        self.process.start()
        theirs.close()
        self._outcome: tuple[Any, str | None] | None = None

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def wait(self, timeout: float | None = None) -> tuple[Any, str | None]:
        """(what the function returned, None), or (None, why there is nothing). TimeoutError if it still runs then."""
        if self._outcome is None:
            if not self.said.poll(timeout):
                raise TimeoutError(f"the worker of process {self.pid} still runs after {timeout} s")
            try:
                self._outcome = pickle.loads(self.said.recv_bytes())
            except EOFError:
                self.process.join()
                self._outcome = None, f"process {self.pid} ended with exit code {self.process.exitcode}"
            self.process.join()
        assert self._outcome is not None
        return self._outcome

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()


def do(said: Any, parcel: bytes) -> None:
    """The process of a worker."""
    torch.set_num_threads(1)
    try:
        work, args = pickle.loads(parcel)
        outcome = work(*args), None
        parcel = pickle.dumps(outcome)
    except BaseException:
        parcel = pickle.dumps((None, traceback.format_exc()))
    said.send_bytes(parcel)


def serve(parcel: bytes, i: int, address: str, key: bytes) -> None:
    """The process of a shard: one thread for each connection, and one request at a time."""
    torch.set_num_threads(1)
    plan: Plan = pickle.loads(parcel)
    shard = open_shard(plan, i)
    dtypes = [p.dtype for p in shard.shard.params]
    lock = threading.Lock()
    Path(address).unlink(missing_ok=True)

    def listen(line: connection.Connection) -> None:
        try:
            while True:
                request = unpacked(line.recv(), dtypes)
                with lock:
                    reply = packed(shard.answer(request))
                line.send(reply)
        except (EOFError, OSError):
            line.close()

    with connection.Listener(address, authkey=key, backlog=64) as listener:
        while True:
            try:
                line = listener.accept()
            except (AuthenticationError, EOFError, OSError):
                continue
            threading.Thread(target=listen, args=(line,), daemon=True).start()


class Connect:
    """Makes lines to shards; it can be sent to another process."""

    def __init__(self, addresses: Sequence[str], key: bytes, dtypes: Sequence[Sequence[torch.dtype]], patience: float):
        self.about = (addresses, key, dtypes, patience)

    def __call__(self, number: int) -> Lines:
        addresses, key, dtypes, patience = self.about
        return Lines([Line(i, x, key, dtypes[i], patience) for i, x in enumerate(addresses)])


class Lines:
    """A thread for each shard, which sends what is posted, in order."""

    def __init__(self, lines: Sequence[Line]):
        self.lines = lines

    def post(self, shard: int, request: Request) -> Future[Reply]:
        future = Future[Reply]()
        self.lines[shard].waiting.put((request, future))
        return future


class Line:
    """A line to one shard. A request is sent again, over another connection, until it is answered: it counts once."""

    def __init__(self, i: int, address: str, key: bytes, dtypes: Sequence[torch.dtype], patience: float):
        self.i, self.address, self.key, self.dtypes, self.patience = i, address, key, dtypes, patience
        self.connection: connection.Connection | None = None
        self.waiting: queue.SimpleQueue[tuple[Request, Future[Reply]]] = queue.SimpleQueue()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        """Send what is posted."""
        while True:
            request, future = self.waiting.get()
            try:
                future.set_result(self.ask(request))
            except BaseException as error:
                future.set_exception(error)

    def ask(self, request: Request) -> Reply:
        """Send a request until it is answered."""
        message, end, pause = packed(request), time.monotonic() + self.patience, 0.01
        while True:
            try:
                if self.connection is None:
                    self.connection = connection.Client(self.address, authkey=self.key)
                self.connection.send(message)
                if self.connection.poll(max(0.0, end - time.monotonic())):
                    return unpacked(self.connection.recv(), self.dtypes)
            except (OSError, EOFError, AuthenticationError):
                pass
            if self.connection is not None:
                self.connection.close()
                self.connection = None
            if time.monotonic() >= end:
                raise ServerLost(
                    f"shard {self.i} of the parameter server has not answered for {self.patience:g} s. It ended or is "
                    "stopped; ParameterServer(checkpoint=folder) starts one again that ends"
                )
            time.sleep(pause)
            pause = min(0.5, 2 * pause)
