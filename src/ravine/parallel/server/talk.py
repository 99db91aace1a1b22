"""How a worker talks: its algorithm yields what it wants to say, and is sent the answers.

    replies = yield Call(client.push(gradients))

The algorithm is a generator, so the same lines run on processes and on Ray, where `talk` sends and waits, and in the
simulator, where replies come in simulated time.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ravine.parallel.server.client import Addressed
from ravine.parallel.server.message import Reply, Request


@dataclass(frozen=True, slots=True)
class Call:
    """Send, and wait for all replies: {shard: reply} comes back."""

    requests: Sequence[Addressed]


@dataclass(frozen=True, slots=True)
class Post:
    """Send, and go on at once: what comes back is for a later Wait."""

    requests: Sequence[Addressed]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for the replies to what was posted: {shard: reply} comes back."""

    posted: Any


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let time go by."""

    seconds: float


Command = Call | Post | Wait | Sleep
Talk = Generator[Command, Any, Any]


class Lines(Protocol):
    """A worker's lines to the shards. Requests to one shard arrive in order; those to several, in any."""

    def post(self, shard: int, request: Request) -> Future[Reply]:
        """Send a request; the reply is in the future's result, or what went wrong."""
        ...

    def close(self) -> None:
        """Nothing more will be sent."""
        ...


@runtime_checkable
class Stage(Protocol):
    """In the place of lines: what keeps time itself, and plays an algorithm when it is due."""

    def play(self, moves: Talk) -> Any:
        """Take over an algorithm."""
        ...

    def post(self, shard: int, request: Request) -> Future[Reply]:
        """It has no lines."""
        ...


def talk(moves: Talk, lines: Lines) -> Any:
    """Run an algorithm to its end, and return what it returns."""
    answer: Any = None
    while True:
        try:
            command = moves.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(command, Sleep):
            time.sleep(command.seconds)
            answer = None
        elif isinstance(command, Wait):
            answer = received(command.posted)
        else:
            posted = {shard: lines.post(shard, request) for shard, request in command.requests}
            answer = posted if isinstance(command, Post) else received(posted)


def received(posted: Mapping[int, Future[Reply]]) -> dict[int, Reply]:
    """The replies, once all are there."""
    return {shard: future.result() for shard, future in posted.items()}
