"""Synchronous methods in simulated time: round after round."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ravine.parallel.server.admit import Finite
from ravine.parallel.server.message import Pull, Push, Reply
from ravine.parallel.simulate.agents import squared
from ravine.parallel.simulate.cluster import Cluster
from ravine.parallel.simulate.methods import Synchronous
from ravine.parallel.simulate.problems import Problem, Tensors
from ravine.parallel.simulate.run import Kind, Run, apart
from ravine.parallel.simulate.site import Site
from ravine.parallel.simulate.trace import Row
from ravine.parallel.simulate.world import Lane


class Member:
    """A worker of synchronous rounds."""

    def __init__(self, i: int, cluster: Cluster, seed: int, watched: bool):
        self.lane, self.fails = Lane(i, cluster, seed, watched), cluster.failures
        self.begins, self.ends = 0.0, math.inf  # of the life under way, or of the next one
        self.params: list[nn.Parameter] = []
        self.opt: torch.optim.Optimizer | None = None
        self.live(0.0)

    def live(self, begins: float) -> None:
        """A worker begins then."""
        self.begins = begins
        if self.lane.lasts is not None:
            self.ends = self.fails.death(begins, self.lane.lasts.next())

    def until(self, now: float) -> int:
        """Let it die and begin again until now; how often it has died."""
        deaths = 0
        while self.ends <= now:
            deaths += 1
            self.span(self.ends, "waits")
            self.params, self.opt = [], None
            begins = self.ends + self.lane.back.next() if self.lane.back is not None else math.inf
            self.span(min(begins, now), "dead")
            self.live(begins) if begins < math.inf else self.never()
        return deaths

    def never(self) -> None:
        """It does not come back."""
        self.begins = self.ends = math.inf

    def span(self, until: float, kind: Kind) -> None:
        """What it has done until then."""
        if self.lane.spans is not None and until > self.lane.began:
            self.lane.spans.append((self.lane.began, until, kind))
            self.lane.began = until


class Rounds:
    """A synchronous method on a cluster. `advance` lets time go by."""

    def __init__(
        self,
        problem: Problem,
        method: Synchronous,
        cluster: Cluster,
        seed: int = 0,
        *,
        pushes: int | None = None,
        watched: int = 32,
        record: bool = False,
    ):
        self.problem, self.method, self.cluster, self.most, self.record = problem, method, cluster, pushes, record
        self.initial = [x.detach().clone() for x in problem.initial]
        made = method.planned(self.initial)
        self.site, self.measured = Site(made.plan, 0, 1, False, True), made.measured
        self.alone = any(isinstance(x, Finite) for x in method.admit)  # each worker looks at what it has found
        self.members = [Member(i, cluster, seed, i < watched) for i in range(cluster.workers)]
        self.now, self.stopped = 0.0, False
        self.count = self.events = self.sent = self.received = self.deaths = self.refused = self.acknowledged = 0
        self.rows: list[Row] = []
        self.begun: list[tuple[float, Member, float, float]] = []  # when it comes, who, and its computing
        self.open, self.round_ends = False, 0.0

    @torch.no_grad()
    def advance(self, until: float) -> None:
        """Let all rounds be made that end until then."""
        while not self.stopped:
            if not self.open and not self.begin():
                break
            self.open = self.round_ends > until
            if self.open:
                break
            self.now = self.round_ends
            self.end()
            self.stopped = self.most is not None and self.site.shard.accepted >= self.most
        if not self.stopped:
            self.now = max(self.now, until)

    def begin(self) -> bool:
        """Find out when each worker will have come. False where nobody will ever."""
        now, here = self.now, list[Member]()
        while not here:
            for x in self.members:
                self.deaths += x.until(now)
            here = [x for x in self.members if x.begins <= now < x.ends]
            if not here:
                now = min(x.begins for x in self.members)
                if now == math.inf:
                    return False
        size, steps = self.site.bytes, self.method.sync_every
        coming, dying = list[tuple[float, Member, float, float]](), False
        for x in here:
            starts = now + x.lane.travel(size)
            stops = starts + math.fsum(x.lane.compute.next() for _ in range(steps))
            comes = stops + x.lane.travel(size)
            dying |= x.ends <= comes
            if x.ends > comes:
                coming.append((comes, x, starts, stops))
        self.sent += size * len(here)
        self.received += size * len(here)
        coming.sort(key=lambda x: (x[0], x[1].lane.i))
        wanted = self.method.wait_for or len(here)
        self.begun, self.here = coming[:wanted], here
        last = coming[min(wanted, len(coming)) - 1][0] if coming else now
        given_up = self.cluster.failures.resend if dying and len(coming) < wanted else 0.0
        self.round_ends = last + given_up + max((self.service() for _ in self.begun), default=0.0)
        if not self.begun:  # all die on their way
            self.round_ends = max(x.ends for x in here)
        for x in here:
            starts, stops = next(((a, b) for _, y, a, b in coming if y is x), (now, min(x.ends, self.round_ends)))
            if x.lane.spans is not None:
                x.span(min(starts, self.round_ends), "waits")
                x.span(min(stops, self.round_ends), "computes")
        return True

    def service(self) -> float:
        """What the shard needs for the round."""
        return self.members[0].lane.service.next()

    def end(self) -> None:
        """The mean of what has come is one push."""
        shard = self.site.shard
        read = shard.answer(Pull(0))
        assert read.tensors is not None
        found = [self.found(x, read.tensors) for _, x, _, _ in self.begun]
        self.events += len(found) * self.method.sync_every
        if self.alone:
            finite = [x for x in found if all(bool(g.isfinite().all()) for g in x)]
            self.refused += len(found) - len(finite)
            found = finite
        if found:
            self.push(read, found)
        if self.record:
            self.rows += [Row(x.lane.i, a, b - a, self.now - b, 0) for _, x, a, b in self.begun]
        self.begun = []
        for x in self.members:
            x.span(min(x.ends, self.now), "waits")

    def push(self, read: Reply, found: Sequence[Sequence[Tensor]]) -> None:
        """The mean of these."""
        mean = [torch.stack([x[k] for x in found]).mean(0) for k in range(len(self.initial))]
        self.count += 1
        square = squared(mean) if self.measured else None
        reply = self.site.answer(Push(0, self.count, read.incarnation, read.version, mean, square, len(found)))
        self.acknowledged += reply.status in ("applied", "kept")
        self.refused += reply.status == "refused"

    def found(self, x: Member, read: Tensors) -> list[Tensor]:
        """What a worker sends: a gradient, or how far it has come."""
        lane = x.lane
        if self.method.local is None:
            lane.step += 1
            return list(self.gradient(lane, read))
        if not x.params:
            x.params = [nn.Parameter(p.clone()) for p in read]
            x.opt = self.method.inner(x.params)
        for p, r in zip(x.params, read, strict=True):
            p.copy_(r)
        assert x.opt is not None
        for _ in range(self.method.sync_every):
            lane.step += 1
            for p, g in zip(x.params, self.gradient(lane, x.params), strict=True):
                p.grad = g
            x.opt.step()
        return [r - p.detach() for r, p in zip(read, x.params, strict=True)]

    def gradient(self, lane: Lane, at: Tensors) -> Tensors:
        """Of a worker's next step."""
        if lane.broken:
            return [torch.full_like(p, torch.nan) for p in at]
        return self.problem.gradient(at, lane.i, lane.step - 1)

    # what is found

    @property
    def center(self) -> list[Tensor]:
        """The parameters."""
        return [p.detach().clone() for p in self.site.shard.params]

    @property
    def version(self) -> int:
        """Rounds that were applied."""
        return self.site.shard.version

    @property
    def divergence(self) -> float:
        """How far copies were from the parameters that the last round has made of them."""
        return apart([x.params for x in self.members if x.params][:32], self.center)

    def report(self, run: Run) -> None:
        """Write what was counted into a Run."""
        for x in self.members:
            if x.lane.spans is not None:
                x.until(self.now)
                x.span(self.now, "dead" if x.begins > self.now else "waits")
                run.lanes.append(x.lane.spans)
        run.staleness, run.reasons, run.accepted = self.site.staleness, self.site.reasons, self.site.shard.accepted
        run.acknowledged, run.refused, run.deaths = self.acknowledged, self.refused, self.deaths
        run.events, run.sent, run.received, run.rows = self.events, self.sent, self.received, self.rows
        run.order = [self.site.order or []]
