"""A worker's side of the conversation, without a wire: which requests to send, and what the replies mean.

Whoever carries requests, on processes, on Ray, or in simulated time, sends what these methods return and gives back
what is answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ravine.parallel.placement import Placement
from ravine.parallel.server.message import Leave, Pull, Push, Reply, Request

Addressed = tuple[int, Request]  # to which shard


@dataclass(slots=True)
class Known:
    """What a worker knows of a shard."""

    incarnation: int = 0
    base: int = 0  # the version that it read last
    accepted: int = 0  # the largest count that it has heard of from this incarnation
    sequence: int = 0  # of the last push, and of the last that was answered
    settled: int = 0
    pulls: int = 0
    apart: float = 0.0  # ‖x − x̃‖² when it was read


class Client:
    """One worker as the shards know it.

    worker: its number; of two that live at a time, each has its own.
    measured: send the norm of each push, which `Finite` and `ClipNorm` ask.
    start: what it counts its requests from, where it is not the worker's first conversation.
    """

    def __init__(self, worker: int, placement: Placement, measured: bool = False, start: int = 0):
        self.worker, self.placement, self.measured = worker, placement, measured
        self.known = [Known(sequence=start, settled=start, pulls=start) for _ in placement.places]
        self.pieces = [[x for x in placement if x.place == place] for place in placement.places]
        self.acknowledged = self.refused = self.fenced = 0  # pushes to shards
        self.sent_bytes = self.received_bytes = 0
        self.fastest = 0.0

    # requests

    def pull(self) -> list[Addressed]:
        """For the parameters of all shards."""
        for x in self.known:
            x.pulls += 1
        return [
            (i, Pull(self.worker, (x.incarnation, x.accepted), x.pulls, x.settled)) for i, x in enumerate(self.known)
        ]

    def push(
        self,
        tensors: Mapping[str, Tensor],
        *,
        want: Literal["", "before", "after"] = "",
        weight: float = 1.0,
        speed: float = 0.0,
    ) -> list[Addressed]:
        """With a tensor for each parameter, to all shards."""
        square = None
        if self.measured:
            square = squared(tensors.values())
        made = list[Addressed]()
        for i, (pieces, x) in enumerate(zip(self.pieces, self.known, strict=True)):
            x.sequence += 1
            parts = [piece.of(tensors[piece.name]).to(piece.dtype) for piece in pieces]
            self.sent_bytes += sum(piece.bytes for piece in pieces)
            push = Push(self.worker, x.sequence, x.incarnation, x.base, parts, square, weight, speed, x.apart, want)
            made.append((i, push))
        return made

    def leave(self) -> list[Addressed]:
        """To say goodbye to all shards."""
        return [(i, Leave(self.worker, x.pulls + 1)) for i, x in enumerate(self.known)]

    # replies

    @property
    def divergence(self) -> float:
        """How far the worker's copy was from the server's parameters when it read them last, ‖x − x̃‖."""
        return math.sqrt(sum(x.apart for x in self.known))

    @torch.no_grad()
    def look(self, replies: Mapping[int, Reply], own: Mapping[str, Tensor]) -> None:
        """Note how far this copy is from what shards send."""
        for i, reply in replies.items():
            if reply.tensors is not None:
                pairs = zip(self.pieces[i], reply.tensors, strict=True)
                self.known[i].apart = squared(
                    (x := piece.of(own[piece.name])) - value.to(x.device) for piece, value in pairs
                )

    @torch.no_grad()
    def take(self, replies: Mapping[int, Reply], into: Mapping[str, Tensor] | None = None) -> list[int]:
        """Note what shards say, and write the parameters that they send into these tensors.

        Returns the shards that have died since they were read: what was pushed to them is lost, and they must be read
        anew.
        """
        gone = list[int]()
        for i, reply in replies.items():
            x = self.known[i]
            x.settled += reply.status not in ("read", "left")  # replies of a shard come in the order of its requests
            if reply.status == "fenced":
                self.fenced += 1
                gone.append(i)
                continue
            if x.incarnation != reply.incarnation:
                x.accepted = 0
            if reply.status == "read" or reply.tensors is not None:
                x.incarnation, x.base = reply.incarnation, reply.version
            if x.incarnation == reply.incarnation:
                x.accepted = max(x.accepted, reply.accepted)
            self.acknowledged += reply.status in ("applied", "kept", "duplicate")
            self.refused += reply.status == "refused"
            self.fastest = max(self.fastest, reply.fastest)
            if reply.tensors is not None:
                self.received_bytes += sum(piece.bytes for piece in self.pieces[i])
                for piece, value in zip(self.pieces[i], reply.tensors, strict=True):
                    if into is not None:
                        piece.of(into[piece.name]).copy_(value)
        return gone

    def whole(self, replies: Mapping[int, Reply]) -> dict[str, Tensor]:
        """The tensors that all shards have sent, put together, in the model's order; as they are where a parameter is
        one piece."""
        parts: dict[str, list[tuple[int, Tensor]]] = {piece.name: [] for piece in self.placement}
        for i, reply in replies.items():
            for piece, value in zip(self.pieces[i], reply.tensors or (), strict=True):
                parts[piece.name].append((piece.start, value))
        joined = {k: [x for _, x in sorted(xs, key=lambda x: x[0])] for k, xs in parts.items()}
        return {k: xs[0] if len(xs) == 1 else torch.cat(xs) for k, xs in joined.items()}


def squared(tensors: Iterable[Tensor]) -> float:
    """‖·‖² of all together, in float64."""
    reals = (torch.view_as_real(x) if x.is_complex() else x for x in tensors)
    return float(sum(torch.linalg.vector_norm(x, dtype=torch.float64) ** 2 for x in reals))
