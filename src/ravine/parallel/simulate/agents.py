"""Workers in simulated time: each is one generator, which says when it computes, and what it sends."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ravine.parallel.server.client import squared
from ravine.parallel.server.handle import Handle
from ravine.parallel.server.message import Pull, Push, Reply, Request
from ravine.parallel.server.talk import Call, Command, Stage, Talk
from ravine.parallel.simulate.problems import Tensors
from ravine.parallel.workers.worker import Worker

Hire = Callable[[Handle, list[nn.Parameter]], Worker]


@dataclass(frozen=True, slots=True)
class Compute:
    """Let the time of one gradient go by; what comes back is the gradient at these parameters."""

    at: Tensors


Life = Generator[Command | Compute, Any, None]


class Counted(Protocol):
    """How many pushes of a worker were answered, and how."""

    acknowledged: int
    refused: int
    fenced: int


@dataclass(slots=True)
class Counts:
    """The same, for who has no Client."""

    acknowledged: int = 0
    refused: int = 0
    fenced: int = 0


class Agent:
    """What the simulator knows of a worker. `life` goes on for ever."""

    def life(self) -> Life:
        """What it does."""
        raise NotImplementedError(f"{type(self).__name__} has no life()")

    def parameters(self) -> Tensors:
        """Its copy."""
        raise NotImplementedError(f"{type(self).__name__} has no parameters()")

    @property
    def client(self) -> Counted:
        """What became of its pushes."""
        raise NotImplementedError(f"{type(self).__name__} has no client")


class Plain(Agent):
    """Read, compute at what was read, push: `Downpour(n_push=1, n_fetch=1)` on one shard, without an optimizer or a
    copy of its own, so that thousands cost little."""

    def __init__(self, server: Handle):
        self.worker, self.measured = server.number, server.measured
        self.at: Tensors = ()
        self.pushes, self.counts = 0, Counts()

    @property
    def client(self) -> Counts:
        return self.counts

    def parameters(self) -> Tensors:
        return self.at

    def life(self) -> Life:
        worker, counts, incarnation, base, heard = self.worker, self.counts, 0, 0, 0
        reply = (yield Call(((0, Pull(worker)),)))[0]
        while True:
            if reply.tensors is not None:
                incarnation, base, self.at = reply.incarnation, reply.version, reply.tensors
            if reply.incarnation == incarnation:
                heard = reply.accepted
            gradient = yield Compute(self.at)
            self.pushes += 1
            square = squared(gradient) if self.measured else None
            push = Push(worker, self.pushes, incarnation, base, gradient, square, 1.0, 0.0, 0.0, "after")
            reply = (yield Call(((0, push),)))[0]
            if reply.status == "fenced":
                counts.fenced += 1
                reply = (yield Call(((0, Pull(worker, (incarnation, heard))),)))[0]
            elif reply.status == "refused":
                counts.refused += 1
            else:
                counts.acknowledged += 1


class Opening(Stage):
    """Lines that send nothing: a worker leaves here what it says first, to be played when its time comes."""

    opening: Talk

    def play(self, moves: Talk) -> None:
        """Keep it for later."""
        self.opening = moves

    def post(self, shard: int, request: Request) -> Future[Reply]:
        raise RuntimeError("a worker in simulated time speaks through its moves() alone")

    def close(self) -> None:
        """There is nothing to close."""


class Hired(Agent):
    """One of `ravine.parallel.workers`, unchanged: its steps are played in simulated time."""

    def __init__(self, server: Handle, initial: Tensors, hire: Hire, clock: Callable[[], float]):
        self.params = [nn.Parameter(x.clone()) for x in initial]
        self.stage = Opening()
        server.connect = lambda number: self.stage
        self.made = hire(server, self.params)
        self.made.clock = clock

    def parameters(self) -> Tensors:
        return self.params

    @property
    def client(self) -> Counted:
        return self.made.client

    def life(self) -> Life:
        yield from self.stage.opening
        while True:
            gradient = yield Compute(self.params)
            for p, g in zip(self.params, gradient, strict=True):
                p.grad = g
            yield from self.made.moves()
