"""Downpour SGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ravine.parallel.server.handle import Handle
from ravine.parallel.server.talk import Post, Sleep, Talk, Wait
from ravine.parallel.workers.worker import Worker
from ravine.rule.hyper import integer
from ravine.saved import whole

PATIENCE = 60.0  # seconds without a step of the server, after which nobody waits for worker 0


class Downpour(Worker):
    """Sends gradients to a parameter server, and reads parameters, without waiting for other workers.

        G ← G + g                               at every step
        send G, G ← 0                           every n_push steps
        p ← the server's parameters             every n_fetch steps; in between, steps of the driven optimizer

    g is computed at parameters that the worker read up to n_fetch steps ago. The steps that the server has made since
    then are its staleness. The server's rule makes the steps that last. In the paper, AdaGrad with about ten times the
    best fixed rate is what made many workers usable.

        def train(worker):                          # in each worker's process
            model = build()
            opt = Downpour(worker.server, ravine.SGD(model.parameters(), lr=0.1))
            for x, y in batches(worker.number):
                loss(model(x), y).backward()
                opt.step()
                opt.zero_grad()

    server: `worker.server`, which `ParameterServer.run` passes to the function that trains.
    opt: an optimizer of this worker's copy of the model. It makes the steps between two reads; with n_fetch=1 it is
        not called.
    n_push, n_fetch: 1, as in the paper's runs. Larger values send less, and make gradients staler.
    overlap: send and read in the background of the next step, whose gradient is then one step older. Call `close()` at
        the end: it waits until the last one has arrived.
    warm_start: workers other than number 0 wait until the server has made so many steps.

    Dean et al. 2012, Algorithm 7.1 (appendix)    https://papers.nips.cc/paper/4687-large-scale-distributed-deep-networks
    """

    papers = ("dean2012large",)
    fields = ("n_push", "n_fetch", "overlap", "warm_start", "count")
    keeps = ("sum",)

    n_push: int
    n_fetch: int
    overlap: bool
    warm_start: int
    count: int

    def __init__(
        self,
        server: Handle,
        opt: torch.optim.Optimizer,
        *,
        n_push: int = 1,
        n_fetch: int = 1,
        overlap: bool = False,
        warm_start: int = 0,
    ):
        n_push, n_fetch = integer("Downpour: n_push", n_push), integer("Downpour: n_fetch", n_fetch)
        note = {"n_push": n_push, "n_fetch": n_fetch, "overlap": overlap, "warm_start": warm_start, "count": 0}
        self.posted: Any = None
        super().__init__(server, opt, **self.valid(note))

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(note["overlap"], bool):
            raise ValueError(f"Downpour: overlap is {note['overlap']!r}; it must be True or False")
        least = {"n_push": 1, "n_fetch": 1, "warm_start": 0, "count": 0}
        return {"overlap": note["overlap"]} | {
            k: whole(f"Downpour: {k}", note[k], low, where="") for k, low in least.items()
        }

    def begin(self) -> Talk:
        """Read the parameters; workers other than the first wait for its warm start, while that goes on."""
        version, idle = -1, 0.0
        while True:
            replies = yield from self.call(self.client.pull())
            now = min(x.version for x in replies.values())
            if not self.client.worker or now >= self.warm_start or idle > PATIENCE:
                return
            version, idle = (now, 0.0) if now > version else (version, idle + 0.05)
            yield Sleep(0.05)

    def moves(self, **given: Any) -> Talk:
        self.count += 1
        push, fetch = self.count % self.n_push == 0, self.count % self.n_fetch == 0
        if self.n_push > 1:
            for k, g in self.gradients().items():
                p = self.tensors[k]
                self.kept[p].setdefault("sum", torch.zeros_like(p)).add_(g)
        if self.n_fetch > 1 or self.overlap:
            self.local(**given)
        if self.overlap and (push or fetch):
            yield from self.arrived()
            requests = self.client.push(self.sums(), want="after" if fetch else "") if push else self.client.pull()
            self.posted = yield Post(requests)
        elif push:
            yield from self.call(self.client.push(self.sums(), want="after" if fetch else ""))
        elif fetch:
            yield from self.call(self.client.pull())

    def arrived(self) -> Talk:
        """Take over the replies to what was posted last."""
        if self.posted is not None:
            replies = yield Wait(self.posted)
            self.posted = None
            self.client.look(replies, self.tensors)
            if gone := self.client.take(replies, self.tensors):
                yield from self.call([x for x in self.client.pull() if x[0] in gone])

    def sums(self) -> dict[str, torch.Tensor]:
        """What is to be sent: copies, since the transport may still read them when the next step begins."""
        if self.n_push == 1:
            return {k: g.clone() for k, g in self.gradients().items()}
        return {k: self.kept[p].pop("sum") for k, p in self.tensors.items()}
