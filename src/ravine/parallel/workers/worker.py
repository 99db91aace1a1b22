"""What every worker of a parameter server shares: it is an optimizer of its own copy of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from ravine.parallel.server.client import Addressed, Client
from ravine.parallel.server.handle import Handle
from ravine.parallel.server.talk import Call, Lines, Stage, Talk, talk
from ravine.strategies.strategy import Strategy, driver


class Worker(Strategy):
    """Drives an optimizer of this worker's copy of the model, and talks to the shards of a server.

    A copied or unpickled worker has no connection to the server: make a new one and load its state_dict.
    """

    client: Client
    lines: Lines | None = None
    clock: Callable[[], float] = staticmethod(monotonic)

    def __init__(self, server: Handle, opt: torch.optim.Optimizer, **own: Any):
        driver(type(self).__name__, opt)
        self.suits(server)
        super().__init__(opt, **own)
        self.client, self.lines = server.client(), server.lines()
        self.tensors = server.matched(self.params, type(self).__name__)
        self.run(self.begin())

    def suits(self, server: Handle) -> None:
        """Raise where the server's rule is none for this algorithm."""
        if not isinstance(server, Handle):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"{type(self).__name__}: the server is {type(server).__name__}; give what a worker is handed, "
                "worker.server, or ParameterServer.handle()"
            )

    def run(self, moves: Talk) -> Any:
        """Do what an algorithm says over this worker's lines; a stage, of the simulator, plays it in its own time."""
        if self.lines is None:
            raise RuntimeError(f"{type(self).__name__}: a copy has no connection to the server; make a new worker")
        return self.lines.play(moves) if isinstance(self.lines, Stage) else talk(moves, self.lines)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        """Make one step with the present gradients, and exchange with the server what is due."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.run(self.moves(**given))
        return loss

    @property
    def divergence(self) -> float:
        """How far this copy was from the server's parameters when they were read last, ‖x − x̃‖."""
        return self.client.divergence

    # the algorithm

    def begin(self) -> Talk:
        """What is said first: the worker reads the server's parameters, so that all begin with the same."""
        yield from self.call(self.client.pull())

    def moves(self, **given: Any) -> Talk:
        """One step. given: what the driven optimizer takes beside the gradients."""
        raise NotImplementedError(f"{type(self).__name__} has no moves()")

    def call(self, requests: Sequence[Addressed], into: bool = True) -> Talk:
        """Send, take over what comes back, and read anew from shards that have died since. Returns the replies."""
        tensors = self.tensors if into else None
        replies = yield Call(requests)
        self.client.look(replies, self.tensors)
        gone = self.client.take(replies, tensors)
        if gone:
            again = yield Call([x for x in self.client.pull() if x[0] in gone])
            self.client.take(again, tensors)
        return replies

    def local(self, **given: Any) -> None:
        """A step of the driven optimizer."""
        given = {k: x for k, x in given.items() if x is not None}
        self.optimizer.step(**given)  # pyright: ignore[reportCallIssue]

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of this worker; zeros where a parameter has none, and sparse ones as dense."""
        return {k: torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for k, p in self.tensors.items()}

    def close(self) -> None:
        """Say goodbye: the server forgets what it keeps for this worker."""
        if self.lines is not None:
            talk(self._goodbye(), self.lines)
            self.lines.close()
            self.lines = None

    def _goodbye(self) -> Talk:
        yield Call(self.client.leave())
