"""Asynchronous workers and shards in simulated time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ravine.parallel.server.message import Push, Reply, Request
from ravine.parallel.server.talk import Call, Post, Sleep, Wait
from ravine.parallel.simulate.agents import Agent, Compute, Hired, Life, Plain
from ravine.parallel.simulate.cluster import Cluster, Draws, once
from ravine.parallel.simulate.distributions import Uniform
from ravine.parallel.simulate.events import Events
from ravine.parallel.simulate.methods import Asynchronous
from ravine.parallel.simulate.problems import Problem, Tensors
from ravine.parallel.simulate.run import Run, Span, apart
from ravine.parallel.simulate.site import Site
from ravine.parallel.simulate.trace import Row
from ravine.saved import told

EVEN = Uniform(0.0, 1.0)
COPIES = 32  # how many workers' copies are looked at for the divergence


def stale_of(site: Site, reply: Reply) -> int:
    """How stale the push was that has just been answered; -1 where it was not accepted, or by a shard before this."""
    recent = site.shard.recent
    return recent[-1][2] if recent and reply.status in ("applied", "kept") else -1


def no_lines(number: int) -> Any:
    """In simulated time there are none."""
    raise RuntimeError(f"worker {number} is simulated, and has no lines")


class Token:
    """The replies to some requests, as they come."""

    __slots__ = ("missing", "replies", "sent", "waited")

    def __init__(self, missing: int, waited: bool, sent: float):
        self.replies: dict[int, Reply] = {}
        self.missing, self.waited, self.sent = missing, waited, sent


class Lane:
    """A place for a worker: when one dies, another may begin there. Its draws go on."""

    agent: Agent
    life: Life

    def __init__(self, i: int, cluster: Cluster, seed: int, watched: bool):
        fails, wires = cluster.failures, cluster.wires
        pace = 1.0 if cluster.pace is None else once(cluster.pace, seed, i, "pace")
        self.i, self.generation, self.alive, self.step = i, 0, False, 0
        self.compute = Draws(cluster.computes(i), seed, i, "compute", pace)
        self.latency = Draws(wires.latency, seed, i, "latency")
        self.service = Draws(cluster.service, seed, i, "service")
        self.fate = Draws(EVEN, seed, i, "fate")
        self.late = Draws(fails.late, seed, i, "duplicate")
        self.lasts = Draws(fails.life, seed, i, "life") if fails.life is not None else None
        self.back = Draws(fails.back, seed, i, "back") if fails.back is not None else None
        self.bandwidth = once(wires.bandwidth, seed, i, "bandwidth") if wires.bandwidth is not None else None
        self.broken = bool(fails.nan) and once(EVEN, seed, i, "nan") < fails.nan
        self.at: Tensors = ()
        self.spans: list[Span] | None = [] if watched else None
        self.began = self.started = 0.0
        self.step_of: tuple[float, float] | None = None  # a step whose delays are not yet noted: start, computing
        self.stale = -1

    def travel(self, size: int) -> float:
        """Seconds of a message of so many bytes on its way."""
        seconds = self.latency.next()
        return seconds if self.bandwidth is None else seconds + size / self.bandwidth


class World(Events):
    """A method on a cluster. `advance` lets time go by."""

    def __init__(
        self,
        problem: Problem,
        method: Asynchronous,
        cluster: Cluster,
        seed: int = 0,
        *,
        pushes: int | None = None,
        watched: int = 32,
        record: bool = False,
        order: Iterable[int] | None = None,
    ):
        super().__init__()
        self.problem, self.method, self.cluster, self.seed = problem, method, cluster, seed
        self.most, self.record, self.noted = pushes, record, record or pushes is not None
        self.initial = [x.detach().clone() for x in problem.initial]
        self.made, self.hire = method.planned(self.initial), method.hire()
        plan = self.made.plan
        fails = cluster.failures
        self.fails, self.mortal = fails, fails.shard_life is not None
        shards = range(len(plan.placement.places))
        # a cluster without failures of messages needs nobody to count them
        counted = record or fails.of_messages
        self.sites = [Site(plan, i, fails.snapshot, self.mortal, counted) for i in shards]
        self.direct, self.paired = cluster.direct, cluster.wires.paired
        self.nothing = [torch.full_like(x, torch.nan) for x in self.initial]
        self.lanes = [Lane(i, cluster, seed, i < watched) for i in range(cluster.workers)]
        self.gone: list[Any] = []  # the counts of those that died
        self.events = self.sent = self.received = self.deaths = 0
        self.rows: list[Row] = []
        for i in order if order is not None else range(cluster.workers):
            self.plan(0.0, i, self.born, self.lanes[i])
        for i in shards if self.mortal else ():
            self.plan_shard_death(i)

    @torch.no_grad()
    def advance(self, until: float) -> None:
        """Let all happen until then."""
        self.run(until)

    # workers

    def born(self, lane: Lane) -> None:
        """A worker begins."""
        if lane.spans is not None and lane.generation:
            lane.spans.append((lane.began, self.now, "dead"))
        number = lane.i + lane.generation * self.cluster.workers
        handle = self.made.handle(number, no_lines)
        lane.agent = Plain(handle) if self.hire is None else Hired(handle, self.initial, self.hire, lambda: self.now)
        lane.life, lane.alive, lane.began = lane.agent.life(), True, self.now
        if lane.lasts is not None:
            end = self.fails.death(self.now, lane.lasts.next())
            self.plan(end, lane.i, self.die, lane)
        self.resume(lane, None)

    def die(self, lane: Lane) -> None:
        """A worker ends without a word. What it has sent is on its way."""
        self.span(lane, "computes" if lane.at else "waits")
        lane.life.close()
        self.gone.append(lane.agent.client)
        lane.alive, lane.at = False, ()
        lane.generation += 1
        self.deaths += 1
        if lane.back is not None:
            self.plan(self.now + lane.back.next(), lane.i, self.born, lane)

    def span(self, lane: Lane, kind: Any) -> None:
        """What a lane has done until now."""
        if lane.spans is not None and self.now > lane.began:
            lane.spans.append((lane.began, self.now, kind))
        lane.began = self.now

    def resume(self, lane: Lane, answer: Any) -> None:
        """Let a worker go on with what it has waited for, until it waits again."""
        send = lane.life.send
        while True:
            command = send(answer)
            if isinstance(command, Compute):
                lane.at = command.at
                if lane.spans is not None:
                    self.span(lane, "waits")
                if self.record:
                    self.note(lane, 0.0, -1)
                    lane.started = self.now
                self.plan(self.now + lane.compute.next(), lane.i, self.computes, lane, lane.generation)
                return
            if isinstance(command, Call):
                if self.direct:
                    answer = self.at_once(lane, command.requests)
                    continue
                self.post(lane, command.requests, True)
                return
            if isinstance(command, Post):
                answer = self.post(lane, command.requests, False)
            elif isinstance(command, Wait):
                token: Token = command.posted
                if token.missing:
                    token.waited = True
                    return
                answer = token.replies
            elif isinstance(command, Sleep):
                self.plan(self.now + command.seconds, lane.i, self.wakes, lane, lane.generation)
                return
            else:
                raise TypeError(
                    f"moves() of a worker yields Call, Post, Wait and Sleep, and this one yielded {told(command)}"
                )

    def wakes(self, lane: Lane, generation: int) -> None:
        """A worker has slept."""
        if generation == lane.generation:
            self.resume(lane, None)

    def computes(self, lane: Lane, generation: int) -> None:
        """A worker's gradient is there."""
        if generation != lane.generation:
            return
        if lane.spans is not None:
            self.span(lane, "computes")
        gradient = self.nothing if lane.broken else self.problem.gradient(lane.at, lane.i, lane.step)
        lane.step += 1
        lane.at = ()
        self.events += 1
        if self.record:
            lane.step_of = (lane.started, self.now - lane.started)
        self.resume(lane, gradient)

    # messages

    def at_once(self, lane: Lane, requests: Sequence[tuple[int, Request]]) -> dict[int, Reply]:
        """Replies that take no time."""
        replies = dict[int, Reply]()
        for i, request in requests:
            site = self.sites[i]
            replies[i] = reply = site.answer(request)
            if type(request) is Push:
                self.sent += site.bytes
                if self.noted:
                    lane.stale = stale_of(site, reply)
                    self.heard(lane, self.now)
            if reply.tensors is not None:
                self.received += site.bytes
        return replies

    def post(self, lane: Lane, requests: Sequence[tuple[int, Request]], waited: bool) -> Token:
        """Send requests."""
        token = Token(len(requests), waited, self.now)
        for i, request in requests:
            self.transmit(lane, lane.generation, token, i, request)
        return token

    def transmit(self, lane: Lane, generation: int, token: Token, i: int, request: Request) -> None:
        """Send one, for the first time or again; not where it has been answered, or its sender has died."""
        if generation != lane.generation or i in token.replies:
            return
        fails, size = self.fails, self.sites[i].bytes if type(request) is Push else 0
        self.sent += size
        way = lane.travel(size)
        what = (lane, generation, token, i, request)
        if fails.lose and lane.fate.next() < fails.lose:
            self.plan(self.now + fails.resend, lane.i, self.transmit, *what)
        else:
            self.plan(self.now + way, lane.i, self.arrives, *what, way, False)
        if fails.duplicate and lane.fate.next() < fails.duplicate:
            self.plan(self.now + way + lane.late.next(), lane.i, self.arrives, *what, way, True)

    def arrives(
        self, lane: Lane, generation: int, token: Token, i: int, request: Request, way: float, copy: bool
    ) -> None:
        """A request is at its shard, and waits for its turn. copy: its sender does not know that it has come twice."""
        site, seconds = self.sites[i], lane.service.next()
        if not seconds and site.free <= self.now:
            self.served(lane, generation, token, i, request, way, copy)
            return
        site.free = max(site.free, self.now) + seconds
        self.plan(site.free, lane.i, self.served, lane, generation, token, i, request, way, copy)

    def served(
        self, lane: Lane, generation: int, token: Token, i: int, request: Request, way: float, copy: bool
    ) -> None:
        """A shard answers; one that is dead does not."""
        site, fails = self.sites[i], self.fails
        if not site.up:
            if not copy:
                self.plan(self.now + fails.resend, lane.i, self.transmit, lane, generation, token, i, request)
            return
        reply = site.answer(request)
        if type(request) is Push and generation == lane.generation:
            lane.stale = stale_of(site, reply)
        if fails.lose and lane.fate.next() < fails.lose:
            if not copy:
                self.plan(self.now + fails.resend, lane.i, self.transmit, lane, generation, token, i, request)
            return
        size = site.bytes if reply.tensors is not None else 0
        back = way if self.paired else lane.travel(size)
        self.plan(self.now + back, lane.i, self.replied, lane, generation, token, i, request, reply)

    def replied(self, lane: Lane, generation: int, token: Token, i: int, request: Request, reply: Reply) -> None:
        """A reply is there; only the first counts."""
        if generation != lane.generation or i in token.replies:
            return
        token.replies[i] = reply
        token.missing -= 1
        self.received += self.sites[i].bytes if reply.tensors is not None else 0
        if type(request) is Push:
            self.heard(lane, token.sent)
        if not token.missing and token.waited:
            self.resume(lane, token.replies)

    def heard(self, lane: Lane, sent: float) -> None:
        """A push has been answered: note its delays, and stop where it was the last that was asked for."""
        if self.record:
            self.note(lane, self.now - sent, lane.stale)
        if self.most is not None and self.sites[0].shard.accepted >= self.most:
            self.stopped = True

    def note(self, lane: Lane, send: float, stale: int) -> None:
        """A row of the trace, of a step that has none yet."""
        if lane.step_of is not None:
            self.rows.append(Row(lane.i, *lane.step_of, send, stale))
            lane.step_of = None

    # shards

    def plan_shard_death(self, i: int) -> None:
        """When a shard dies, it is long planned."""
        assert self.fails.shard_life is not None
        life = Draws(self.fails.shard_life, self.seed, i + 2**20 * self.sites[i].deaths, "shard").next()
        self.plan(self.now + life, -1 - i, self.shard_dies, i)

    def shard_dies(self, i: int) -> None:
        """A shard ends, and is away for a while."""
        self.sites[i].die()
        self.plan(self.now + self.fails.shard_back, -1 - i, self.shard_revives, i)

    def shard_revives(self, i: int) -> None:
        """It goes on from its snapshot."""
        self.sites[i].revive()
        self.plan_shard_death(i)

    # what is found

    @property
    def center(self) -> list[Tensor]:
        """The server's parameters, as they were given."""
        whole = [torch.empty_like(x) for x in self.initial]
        for i, site in enumerate(self.sites):
            for piece, p in zip(self.made.plan.placement.at(i), site.shard.params, strict=True):
                piece.of(whole[int(piece.name)]).copy_(p.detach())
        return whole

    @property
    def version(self) -> int:
        """Steps of the rule, on the shard that has made fewest."""
        return min(site.shard.version for site in self.sites)

    @property
    def divergence(self) -> float:
        """How far copies are from the server's parameters."""
        agents = (x.agent for x in self.lanes[: 4 * COPIES] if x.alive)
        copies = [at for agent in agents if (at := agent.parameters())][:COPIES]
        return apart(copies, self.center)

    def report(self, run: Run) -> None:
        """Write what was counted into a Run."""
        for lane in self.lanes:
            if lane.spans is not None:
                self.span(lane, "dead" if not lane.alive else "computes" if lane.at else "waits")
                run.lanes.append(lane.spans)
        counts = [x.agent.client for x in self.lanes if x.alive] + self.gone
        run.acknowledged = sum(x.acknowledged for x in counts)
        run.refused, run.fenced = sum(x.refused for x in counts), sum(x.fenced for x in counts)
        for site in self.sites:
            run.staleness += site.staleness
            run.reasons += site.reasons
            run.accepted += site.accepted
            run.duplicates += site.duplicates
            run.lost += sum(site.shard.lost.values())
            run.died += site.died
            run.shard_deaths += site.deaths
            run.order.append(site.order or [])
        run.events, run.sent, run.received, run.deaths = self.events, self.sent, self.received, self.deaths
        run.rows = self.rows
