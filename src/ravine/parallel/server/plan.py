"""What a server is, before any process of it runs; and a shard with its snapshots, as each engine runs it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ravine.parallel.placement import Placement
from ravine.parallel.server.admit import Policy
from ravine.parallel.server.message import Failed, Pull, Push, Reply, Request
from ravine.parallel.server.shard import Rule, Shard
from ravine.parallel.server.snapshot import clear, read, write
from ravine.parallel.server.wire import array
from ravine.saved import told

Event = tuple[str, int, int, int]  # of a trace: request, worker, number of it, and a check sum of what was pushed


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

    def part(self, i: int) -> Plan:
        """What the process of a shard needs."""
        mine = {x.name for x in self.placement.at(self.placement.places[i])}
        return replace(self, tensors={k: x for k, x in self.tensors.items() if k in mine})

    def path(self, i: int) -> Path | None:
        """Where a shard saves itself."""
        return None if self.folder is None else self.folder / f"shard-{i}.pt"

    def dtypes(self, i: int) -> list[torch.dtype]:
        """Of the pieces of a shard."""
        return [x.dtype for x in self.placement.at(self.placement.places[i])]

    def about(self, i: int) -> dict[str, Any]:
        """What the snapshots of a shard must agree on."""
        pieces = self.placement.at(self.placement.places[i])
        return {"shard": [i, len(self.placement.places)], "pieces": [[x.name, x.start, x.stop] for x in pieces]}


@dataclass(frozen=True, slots=True)
class Ask:
    """Not from a worker: what the owner of the server wants, "metrics", "state", "trace", "save", or "load" with a
    state."""

    what: str
    state: Mapping[str, Any] | None = None


class Kept:
    """A shard that saves itself, and notes what it answers."""

    def __init__(self, shard: Shard, path: Path | None, every: int, record: bool, about: Mapping[str, Any]):
        self.shard, self.path, self.every, self.whose = shard, path, every, dict(about)
        self.whose["rule"] = type(shard.opt).__name__
        self.events: list[Event] | None = [] if record else None
        self.saved, self.told = -1, 0  # accepted, and known to be lost, when it was saved

    def answer(self, request: Request | Ask) -> Reply | Failed | Any:
        """What the shard says. A snapshot that is due is written before the answer goes out."""
        try:
            if isinstance(request, Ask):
                return self.about(request)
            if self.events is not None:
                self.events.append(noted(request))  # also where it fails: so it does in a replay
            reply = self.shard.answer(request)
            if self.shard.accepted - self.saved >= self.every or self.lost() > self.told:
                self.save()
            return reply
        except Exception as error:
            return Failed(f"{type(error).__name__}: {error}")

    def state(self) -> dict[str, Any]:
        """All of it, to be saved."""
        return {**self.whose, **self.shard.state_dict()}

    def save(self) -> None:
        """Replace the snapshot."""
        now = self.shard.accepted, self.lost()
        if self.path is not None and now != (self.saved, self.told):
            write(self.path, self.state())
        self.saved, self.told = now

    def lost(self) -> int:
        """How many accepted pushes died with a shard before this one, as far as workers have told."""
        return sum(self.shard.lost.values())

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot; ValueError where it is another shard's."""
        for k, mine in self.whose.items():
            if state.get(k) != mine:
                raise ValueError(f"its {k} is {told(state.get(k))}, and this server's is {told(mine)}")
        self.shard.load_state_dict(state)
        self.saved = -1

    def about(self, ask: Ask) -> Any:
        """What the owner wants to know, or to be done."""
        shard = self.shard
        if ask.what == "state":
            return self.state()
        if ask.what == "trace":
            return self.events
        if ask.what == "save":
            return self.save()
        if ask.what == "load":
            assert ask.state is not None
            self.load(ask.state)
            return self.save()
        return {
            "incarnation": shard.incarnation,
            "version": shard.version,
            "accepted": shard.accepted,
            "lost": self.lost(),
            "refused": {f"worker {worker}: {why}": n for (worker, why), n in shard.refused.items()},
            "staleness": dict(sorted(shard.staleness.items())),
            "recent": list(shard.recent),
            "divergence": {worker: x**0.5 for worker, x in sorted(shard.apart.items())},
            "workers": 1 + max(shard.once, default=-1),  # the largest number of a worker that has pushed, and one
        }


def noted(request: Request) -> Event:
    """A line of a trace."""
    if isinstance(request, Push):
        return "push", request.worker, request.sequence, checked(request)
    return ("pull" if isinstance(request, Pull) else "leave"), request.worker, request.number, 0


def checked(push: Push) -> int:
    """A check sum of the tensors, by which a replay knows that it computes the same."""
    total = 0
    for x in push.tensors:
        total = zlib.crc32(array(x).reshape(-1).view("uint8"), total)  # pyright: ignore[reportArgumentType]
    return total


def open_shard(plan: Plan, i: int) -> Kept:
    """A shard as it begins, or as its snapshot has it."""
    kept, path = Kept(plan.shard(i), plan.path(i), plan.every, plan.record, plan.about(i)), plan.path(i)
    if path is not None:
        clear(path)
        if path.exists():
            try:
                kept.load(read(path))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}: {error}; give another folder, or delete what is in it") from None
    kept.save()
    return kept
