"""Shards and workers as processes of this machine, which speak over sockets that only they can open.

A shard that dies is started again from its snapshot, if it has one; a worker that dies is missed by nobody. None of
them outlives the process that started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import connection, current_process, get_context, parent_process
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from ravine.parallel.engines.lines import Lines
from ravine.parallel.engines.sockets import Connect, listen
from ravine.parallel.server.plan import Plan, open_shard
from ravine.parallel.server.wire import packed, unpacked
from ravine.saved import told

FORKS = sys.platform.startswith("linux")  # from a process without threads, which has imported torch once for all
START: Any = get_context("forkserver" if FORKS else "spawn")


def process(target: Callable[..., None], *args: Any) -> Any:
    """A process that runs a function, and ends with this one."""
    if FORKS:
        START.set_forkserver_preload(["ravine.optim", "ravine.parallel.engines.local", "ravine.parallel.workers"])
    made = START.Process(target=target, args=args, daemon=True)
    made.start()
    return made


def begin() -> None:
    """What every process here does first: one thread, Ctrl-C is its parent's affair, and it ends with that."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (parent := parent_process()) is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class Local:
    """Processes of this machine."""

    def __init__(self, plan: Plan, patience: float, restarts: int):
        if getattr(current_process(), "_inheriting", False):  # a child that imports the script
            raise RuntimeError(
                "ParameterServer: a process that it started runs the script from its beginning. Put what the script "
                'does below `if __name__ == "__main__":`'
            )
        self.plan, self.patience = plan, patience
        self.folder = Path(tempfile.mkdtemp(prefix="ravine-"))  # nobody else may enter it
        self.key = os.urandom(32)
        self.left = [restarts if plan.folder is not None else 0 for _ in plan.placement.places]
        self.workers: list[LocalWorker] = []
        self.closing = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.shards: list[Any] = []
        try:
            begun = [self.start(i) for i in range(len(self.left))]
            self.shards = [made for made, _ in begun]
            for i, (made, said) in enumerate(begun):
                if why := heard(made, said):
                    raise RuntimeError(f"ParameterServer: shard {i} does not start: {why}")
        except BaseException:
            self.closing.set()
            self.end()
            raise
        self.watcher.start()

    def start(self, i: int) -> tuple[Any, Any]:
        """A process that serves a shard, and the pipe in which it says that it does, or why not."""
        said, theirs = START.Pipe(duplex=False)
        made = process(serve, theirs, pickle.dumps(self.plan.part(i)), i, self.address(i), self.key)
        theirs.close()
        return made, said

    def address(self, i: int) -> str:
        """Where a shard listens."""
        return str(self.folder / f"{i}") if os.name != "nt" else rf"\\.\pipe\{self.folder.name}-{i}"

    def gone(self, i: int) -> Path:
        """A file that says why a shard will not come back."""
        return self.folder / f"{i}.gone"

    def watch(self) -> None:
        """Start shards again that have died."""
        while not self.closing.is_set():
            connection.wait([x.sentinel for x in self.shards if x.exitcode is None], timeout=0.2)
            for i, dead in enumerate(self.shards):
                if dead.exitcode is None or self.closing.is_set() or self.gone(i).exists():
                    continue
                why = f"its process ended with exit code {dead.exitcode}"
                if self.left[i] > 0:
                    self.left[i] -= 1
                    self.shards[i], said = self.start(i)
                    if not (failed := heard(self.shards[i], said)):
                        continue
                    why = f"it does not start again: {failed}"
                elif self.plan.folder is None:
                    why += ", and ParameterServer(checkpoint=folder) was not given, to start it again from there"
                else:
                    why += ", and all its restarts are used up"
                aside = self.gone(i).with_suffix(".new")
                aside.write_text(why, encoding="utf-8")
                aside.replace(self.gone(i))

    def connect(self) -> Callable[[int], Lines]:
        """Makes lines to all shards, in whatever process."""
        n = range(len(self.left))
        addresses, gone = [self.address(i) for i in n], [self.gone(i) for i in n]
        return Connect(addresses, self.key, gone, [self.plan.dtypes(i) for i in n], self.patience)

    def hire(self, work: Callable[..., Any], *args: Any) -> LocalWorker:
        """A process that runs a function."""
        worker = LocalWorker(work, args)
        self.workers.append(worker)
        return worker

    def kill_shard(self, i: int) -> None:
        """End a shard without a word, as a crash would."""
        dead = self.shards[i]
        dead.kill()
        dead.join()

    def close(self) -> None:
        """End all processes that were started here. It may be called twice."""
        if not self.closing.is_set():
            self.closing.set()
            self.watcher.join()
            self.end()

    def end(self) -> None:
        """Kill what still runs."""
        for made in [*self.shards, *(x.process for x in self.workers)]:
            made.kill()
            made.join()
        rmtree(self.folder, ignore_errors=True)


class LocalWorker:
    """A process that runs a function, and what came of it."""

    def __init__(self, work: Callable[..., Any], args: Sequence[Any]):
        self.said, theirs = START.Pipe(duplex=False)
        self.process = process(do, theirs, pickle.dumps((work, args)))
        theirs.close()
        self.outcome: tuple[Any, str | None] | None = None

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """False once `wait` would return at once."""
        return self.outcome is None and not self.said.poll(0)

    def wait(self, timeout: float | None = None) -> tuple[Any, str | None]:
        """(what the function returned, None), or (None, why there is nothing). TimeoutError if it still runs then."""
        if self.outcome is None:
            if not self.said.poll(timeout):
                raise TimeoutError(f"the worker of process {self.pid} still runs after {timeout} s")
            try:
                self.outcome = pickle.loads(self.said.recv_bytes())
            except EOFError:
                self.process.join()
                self.outcome = None, f"process {self.pid} ended with exit code {self.process.exitcode}"
            self.process.join()
        assert self.outcome is not None
        return self.outcome

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()


def heard(made: Any, said: Any) -> str:
    """Nothing if a shard serves, else why not."""
    with said:
        try:
            return said.recv()
        except EOFError:
            made.join()
            return f"its process ended with exit code {made.exitcode}; what it printed says why"


def do(said: Any, parcel: bytes) -> None:
    """The process of a worker."""
    begin()
    try:
        work, args = pickle.loads(parcel)
        value = work(*args)
        try:
            parcel = pickle.dumps((value, None))
        except Exception as error:
            raise TypeError(f"the function returned {told(value)}, which cannot be sent back: {error}") from None
    except BaseException:
        parcel = pickle.dumps((None, traceback.format_exc()))
    said.send_bytes(parcel)


def serve(said: Any, parcel: bytes, i: int, address: str, key: bytes) -> None:
    """The process of a shard: one request at a time."""
    begin()
    try:
        plan: Plan = pickle.loads(parcel)
        shard, dtypes, lock = open_shard(plan, i), plan.dtypes(i), threading.Lock()
    except Exception as error:
        said.send(f"{type(error).__name__}: {error}")
        return

    def answer(message: Any) -> Any:
        with lock:
            return packed(shard.answer(unpacked(message, dtypes)))

    def ready() -> None:
        said.send("")
        said.close()

    listen(address, key, answer, ready)
