"""Lines to shards that keep asking: a request is sent again until it is answered, or patience is at its end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import torch

from ravine.parallel.server.message import Failed, Reply, Request
from ravine.parallel.server.wire import packed, unpacked


class ServerLost(RuntimeError):
    """A shard does not answer."""


class ServerFailed(RuntimeError):
    """A shard answered with an error of its rule, or of a policy."""


class Gone(Exception):
    """This attempt came to nothing; the next may not."""


class Ended(Exception):
    """The shard will not come back, for this reason."""


class Lines:
    """A thread for each shard, which sends what is posted, in order. They end with the last who holds this."""

    def __init__(self, lines: Sequence[Line]):
        self.lines, self.closed = lines, False

    def __del__(self) -> None:
        self.close()

    def post(self, shard: int, request: Request) -> Future[Reply]:
        """Send a request, and go on; the future has the reply, or what went wrong."""
        if self.closed:
            raise ServerLost("the lines to the parameter server are closed")
        future = Future[Reply]()
        self.lines[shard].waiting.put((request, future))
        return future

    def close(self) -> None:
        """End the threads, once what was posted is answered. It may be called twice."""
        self.closed = True
        for line in self.lines:
            line.waiting.put(None)


class Line:
    """A line to one shard. A request may reach it twice, and counts once.

    An engine says with `attempt` how a message is carried. clock, sleep: tests give others.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, i: int, dtypes: Sequence[torch.dtype], patience: float):
        self.i, self.dtypes, self.patience = i, dtypes, patience
        self.waiting: queue.SimpleQueue[tuple[Request, Future[Reply]] | None] = queue.SimpleQueue()
        threading.Thread(target=self.run, daemon=True).start()

    def attempt(self, message: Any, seconds: float) -> Any:
        """What is answered in so many seconds; or Gone, or Ended."""
        raise NotImplementedError(f"{type(self).__name__} has no attempt()")

    def hang_up(self) -> None:
        """Nothing more will be sent."""

    def run(self) -> None:
        """Send what is posted."""
        while (posted := self.waiting.get()) is not None:
            request, future = posted
            try:
                future.set_result(self.ask(request))
            except BaseException as error:
                future.set_exception(error)
        self.hang_up()

    def ask(self, request: Request) -> Reply:
        """Send a request until it is answered."""
        message, end, pause = packed(request), self.clock() + self.patience, 0.01
        while True:
            try:
                reply = self.attempt(message, max(0.001, end - self.clock()))
                break
            except Gone:
                left = end - self.clock()
            except Ended as why:
                raise ServerLost(f"shard {self.i} of the parameter server has ended: {why}") from None
            if left <= 0:
                raise ServerLost(
                    f"shard {self.i} of the parameter server has not answered for {self.patience:g} s: it is stopped, "
                    "too slow, or cannot be reached. Look at its process, or give ParameterServer(patience=…) more"
                )
            self.sleep(min(pause, left))
            pause = min(0.5, 2 * pause)
        if isinstance(reply, Failed):
            raise failed(self.i, reply)
        return unpacked(reply, self.dtypes)


def failed(shard: int, reply: Failed) -> ServerFailed:
    """The error that a shard answered."""
    return ServerFailed(f"shard {shard} of the parameter server cannot do this: {reply.error}")
