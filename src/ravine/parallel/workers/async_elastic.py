"""Asynchronous EASGD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ravine.parallel.server.handle import Handle
from ravine.parallel.server.talk import Talk
from ravine.parallel.workers.worker import Worker
from ravine.rule.hyper import integer
from ravine.saved import whole


class AsyncElasticAveraging(Worker):
    """Trains a copy of the model by itself, tied by a spring to a center that a server keeps.

        g = ∇f(x)
        d = α (x − x̃),   x ← x − d,   x̃ ← x̃ + d        every τ steps       τ: sync_every
        x ← the driven optimizer's step with g

    Workers explore on their own. The center is an average over workers and over time; evaluate the center. The same d
    moves both ends, so x + x̃ is conserved; a push that is not applied moves neither. The driven optimizer keeps its
    momentum on the worker. With Nesterov's momentum (`ravine.NAG`) it is EAMSGD, but for one thing: d is taken at the
    weights that the model holds, x + δ v, and in the paper at x. `ElasticAveraging` takes it at x.

    server: one whose rule is `ElasticCenter(alpha=…)`; the worker takes α from it.
    sync_every: τ. The paper tries 1 to 64.

    `eval()` puts the center, as it was last read, into the model, and `train()` puts the worker's own parameters back.

    Zhang, Choromanska & LeCun 2015, Algorithm 1    https://arxiv.org/abs/1412.6651
    """

    papers = ("zhang2015easgd",)
    fields = ("sync_every", "count")
    keeps = ("center", "own")

    sync_every: int
    count: int

    def __init__(self, server: Handle, opt: torch.optim.Optimizer, *, sync_every: int = 10):
        sync_every = integer("AsyncElasticAveraging: sync_every", sync_every)
        super().__init__(server, opt, **self.valid({"sync_every": sync_every, "count": 0}))

    @classmethod
    def valid(cls, note: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "sync_every": whole("AsyncElasticAveraging: sync_every", note["sync_every"], 1, where=""),
            "count": whole("AsyncElasticAveraging: count", note["count"], where=""),
        }

    def suits(self, server: Handle) -> None:
        super().suits(server)
        if server.rule != "ElasticCenter":
            raise ValueError(
                f"AsyncElasticAveraging: the server's rule is {server.rule}; make the server with "
                "rule=functools.partial(ravine.parallel.ElasticCenter, alpha=0.9 / workers)"
            )
        self.alpha = server.hyper["alpha"]

    def step(self, closure: Callable[[], Any] | None = None, **given: Any) -> Any:
        if any("own" in kept for kept in self.kept.values()):  # the center would be trained, and lost by train()
            raise RuntimeError(
                "AsyncElasticAveraging: the model holds the center, which eval() put there; call train() before step()"
            )
        return super().step(closure, **given)

    def moves(self, **given: Any) -> Talk:
        if self.count % self.sync_every == 0:
            mine = {k: p.detach().clone() for k, p in self.tensors.items()}
            replies = yield from self.call(self.client.push(mine, want="before"), into=False)
            for i, reply in replies.items():
                if reply.status == "applied":
                    for piece, center in zip(self.client.pieces[i], reply.tensors or (), strict=True):
                        x = piece.of(self.tensors[piece.name])
                        center = torch.as_tensor(center)
                        x.sub_(x - center, alpha=self.alpha)
                        kept = self.kept[self.tensors[piece.name]]
                        whole_one = kept.setdefault("center", torch.zeros_like(self.tensors[piece.name]))
                        piece.of(whole_one).copy_(center)
        self.count += 1
        self.local(**given)

    @torch.no_grad()
    def eval(self) -> None:
        """Put the center into the model, as it was read last."""
        for p in self.params:
            kept = self.kept[p]
            if "center" in kept and "own" not in kept:
                kept["own"] = p.detach().clone()
                p.copy_(kept["center"])

    @torch.no_grad()
    def train(self) -> None:
        """Put the worker's own parameters back."""
        for p in self.params:
            if "own" in self.kept[p]:
                p.copy_(self.kept[p].pop("own"))
