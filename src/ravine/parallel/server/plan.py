"""What a server is, before any process of it runs; and a shard with its snapshots, as each engine runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ravine.parallel.placement import Placement
from ravine.parallel.server.admit import Policy
from ravine.parallel.server.message import Leave, Pull, Push, Reply, Request
from ravine.parallel.server.shard import Rule, Shard
from ravine.parallel.server.snapshot import read, write


@dataclass(frozen=True)
class Plan:
    """What a server is.

    tensors: where each parameter begins.
    folder, every: where each shard saves itself, and after how many accepted pushes.
    record: keep the order in which requests were answered, to be replayed.
    """

    tensors: Mapping[str, Tensor]
    placement: Placement
    rule: Rule
    admit: Sequence[Policy] = ()
    folder: Path | None = None
    every: int = 100
    record: bool = False

    def shard(self, i: int) -> Shard:
        """A shard as it begins."""
        pieces = self.placement.at(self.placement.places[i])
        return Shard([x.of(self.tensors[x.name]) for x in pieces], self.rule, self.admit)


@dataclass(frozen=True, slots=True)
class Ask:
    """Not from a worker: what the owner of the server wants to know. "metrics", "state" or "trace"."""

    what: str


class Kept:
    """A shard that saves itself, and notes what it answers."""

    def __init__(self, shard: Shard, path: Path | None, every: int, record: bool):
        self.shard, self.path, self.every = shard, path, every
        self.events: list[tuple[str, int, int]] | None = [] if record else None
        self.save()

    def answer(self, request: Request | Ask) -> Reply | Any:
        """What the shard says. A snapshot that is due is written before the answer goes out."""
        if isinstance(request, Ask):
            return self.about(request.what)
        reply = self.shard.answer(request)
        if self.events is not None:
            self.events.append(noted(request, reply))
        if self.shard.accepted - self.saved >= self.every or self.shard.lost != self.told:
            self.save()  # what was lost is told once only, so a shard that dies again must not forget it
        return reply

    def save(self) -> None:
        """Replace the snapshot."""
        self.saved, self.told = self.shard.accepted, dict(self.shard.lost)
        if self.path is not None:
            write(self.path, self.shard.state_dict())

    def about(self, what: str) -> Any:
        """What the owner wants to know."""
        shard = self.shard
        if what == "state":
            return shard.state_dict()
        if what == "trace":
            return self.events
        return {
            "incarnation": shard.incarnation,
            "version": shard.version,
            "accepted": shard.accepted,
            "lost": sum(shard.lost.values()),
            "refused": {f"worker {worker}: {why}": n for (worker, why), n in shard.refused.items()},
            "staleness": dict(sorted(shard.staleness.items())),
            "recent": list(shard.recent),
        }


def noted(request: Request, reply: Reply) -> tuple[str, int, int]:
    """A line of a trace: what was asked, by whom, and the number of a push."""
    kind = {Pull: "pull", Push: "push", Leave: "leave"}[type(request)]
    return kind, request.worker, request.sequence if isinstance(request, Push) else 0


def open_shard(plan: Plan, i: int) -> Kept:
    """A shard as it begins, or as its snapshot has it."""
    shard, path = plan.shard(i), None if plan.folder is None else plan.folder / f"shard-{i}.pt"
    if path is not None and path.exists():
        shard.load_state_dict(read(path))
    return Kept(shard, path, plan.every, plan.record)
