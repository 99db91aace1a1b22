"""A shard in simulated time: it answers one request after the other, dies, and goes on from its snapshot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ravine.parallel.server.message import Push, Reply, Request
from ravine.parallel.server.plan import Plan
from ravine.parallel.server.shard import Shard


class Site:
    """Where shard number `i` of a plan runs.

    mortal: it may die, and keeps snapshots. record: note the order of what counts.
    """

    def __init__(self, plan: Plan, i: int, every: int, mortal: bool, record: bool):
        self.plan, self.i, self.every = plan, i, every
        self.shard: Shard = plan.shard(i)
        self.snapshot: Mapping[str, Any] | None = self.shard.state_dict() if mortal else None
        self.saved, self.told = 0, dict[int, int]()
        self.order: list[tuple[int, int]] | None = [] if record or mortal else None
        self.up, self.free = True, 0.0
        self.deaths = self.died = self.duplicates = 0
        self.before: list[Shard] = []  # those that have died: their counts are still told
        self.bytes = sum(x.bytes for x in plan.placement.at(plan.placement.places[i]))

    def answer(self, request: Request) -> Reply:
        """What the shard says. A snapshot that is due is made before the answer goes out."""
        shard, accepted = self.shard, self.shard.accepted
        if self.order is None:
            return shard.answer(request)
        if isinstance(request, Push) and request.sequence in shard.once[request.worker]:
            self.duplicates += 1
        reply = shard.answer(request)
        if shard.accepted > accepted and isinstance(request, Push):
            self.order.append((request.worker, request.sequence))
        if self.snapshot is not None and (shard.accepted - self.saved >= self.every or shard.lost != self.told):
            self.save()
        return reply

    def save(self) -> None:
        """Replace the snapshot."""
        self.snapshot, self.saved, self.told = self.shard.state_dict(), self.shard.accepted, dict(self.shard.lost)

    def die(self) -> None:
        """What is not in the snapshot is lost."""
        assert self.snapshot is not None and self.order is not None
        self.up = False
        self.deaths += 1
        self.died += self.shard.accepted - self.saved
        del self.order[self.saved :]
        self.before.append(self.shard)

    def revive(self) -> None:
        """Another goes on from the snapshot, which is made anew, as it is for a shard that starts again."""
        assert self.snapshot is not None
        self.shard = self.plan.shard(self.i)
        self.shard.load_state_dict(self.snapshot)
        self.save()
        self.up, self.free = True, 0.0

    @property
    def accepted(self) -> int:
        """Pushes that count; of a shard that is dead, those in its snapshot."""
        return self.shard.accepted if self.up else self.saved

    @property
    def staleness(self) -> Counter[int]:
        """Of all accepted pushes, of those that were lost too."""
        return sum((x.staleness for x in self.all), Counter[int]())

    @property
    def all(self) -> list[Shard]:
        """The shard, and those before it that have died."""
        return [*self.before, self.shard] if self.up else self.before

    @property
    def reasons(self) -> Counter[str]:
        """How many pushes were refused, and why."""
        found = Counter[str]()
        for shard in self.all:
            for (_, why), n in shard.refused.items():
                found[why] += n
        return found
